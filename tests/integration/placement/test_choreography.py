"""Miners of one coldkey over a real shared store: who owns which slot, and what makes that change."""

from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest

from horde_agents.placement.coordination import Coordination
from horde_agents.placement.records import CHOREOGRAPHER, Member, SlotState, as_json
from tests.fixtures.waiting import eventually
from tests.integration.placement.conftest import (
    CYCLE_BLOCKS,
    Breaking,
    LateReader,
    Seat,
    Shared,
    seat,
    seats,
    slots,
)


async def counts(shared: Shared) -> Counter[str]:
    return Counter((await shared.owners()).values())


async def until_counts(shared: Shared, **wanted: int) -> None:
    async def check() -> bool:
        return await counts(shared) == wanted

    await eventually(check)


async def until_state(shared: Shared, slot_id: str, state: SlotState) -> None:
    async def check() -> bool:
        return (await shared.slots())[slot_id].state is state

    await eventually(check)


async def turned(shared: Shared, cycle: int, *all_seats: Seat) -> None:
    """The chain comes to ``cycle``; wait until the horde has noted it."""
    for one in all_seats:
        one.facts.block_number = cycle * CYCLE_BLOCKS

    async def check() -> bool:
        return (await shared.state()).last_dance_cycle == cycle

    await eventually(check)


async def test_slots_get_owners_and_are_spread(shared: Shared) -> None:
    async with seats(shared, "A", "B", "C"):
        await shared.add(slots(7))
        await eventually(lambda: _none_homeless(shared))
        assert sorted((await counts(shared)).values()) == [2, 2, 3]
        owned = await shared.slots()
        assert {slot.epoch for slot in owned.values()} == {1}
        assert {slot.uid for slot in owned.values()} == {1, 2, 3}
        assert {record.why for record in await shared.history()} == {"new"}


async def _none_homeless(shared: Shared) -> bool:
    return "" not in (await shared.owners()).values()


async def test_dance_that_is_asked_for_moves_the_share(shared: Shared) -> None:
    async with seats(shared, "A", "B"):
        await shared.any_choreographer()
        await shared.add(slots(8, "A"))
        await shared.dance()
        await until_counts(shared, A=4, B=4)
        (record,) = await shared.history()
        assert (record.why, record.by) == ("dance", await shared.choreographer())
        assert len(record.moves) == 4


async def test_each_cycle_dances_once(shared: Shared) -> None:
    async with seats(shared, "A", "B") as both:
        await shared.add([*slots(4, "A"), *slots(4, "B", start=4)])
        await turned(shared, 5, *both)
        await shared.dance()
        assert sum(len(record.moves) for record in await shared.history()) == 4
        assert {slot.moved_cycle for slot in (await shared.slots()).values()} == {-1, 5}
        await turned(shared, 6, *both)
        assert sum(len(record.moves) for record in await shared.history()) > 4


async def test_dance_off_moves_nothing(shared: Shared) -> None:
    async with seats(shared, "A", "B", dance="off") as both:
        await shared.add(slots(8, "A"))
        await turned(shared, 5, *both)
        await shared.dance()
        assert await counts(shared) == {"A": 8}
        assert (await shared.state()).main_hotkey is None


async def test_main_hotkey_changes_with_each_cycle_and_slots_stay(shared: Shared) -> None:
    async with seats(shared, "A", "B", dance="main_hotkey") as both:
        await shared.add(slots(8, "A"))
        chosen = []
        for cycle in (5, 6, 7):
            await turned(shared, cycle, *both)
            main = (await shared.state()).main_hotkey
            assert main is not None
            assert main.cycle == cycle
            chosen.append(main.hotkey)
        assert chosen in (["A", "B", "A"], ["B", "A", "B"])
        assert await counts(shared) == {"A": 8}
        await eventually(lambda: _announces(both, chosen[-1]))


async def _announces(both: list[Seat], hotkey: str) -> bool:
    return {one.shared.main_hotkey() for one in both} == {hotkey}


@pytest.mark.parametrize(("rewards", "moves"), [(True, True), (False, False)])
async def test_auto_follows_what_the_validators_reward(shared: Shared, *, rewards: bool, moves: bool) -> None:
    async with seats(shared, "A", "B", dance="auto") as both:
        for one in both:
            one.facts.rewards_moved_slots["validator"] = rewards
        await shared.add(slots(8, "A"))
        await turned(shared, 5, *both)
        assert (len(await shared.history()) > 0) is moves
        assert ((await shared.state()).main_hotkey is None) is moves


async def test_leased_slot_stays_and_moves_after_its_job(shared: Shared) -> None:
    async with seats(shared, "A", "B", dance_largest_share=1.0, dance_least_per_class=0) as (a, _):
        await shared.any_choreographer()
        await shared.add(slots(1, "A"))
        a.open_jobs.add("job")
        a.shared.marks.leased("node:cpu-0", "job")
        await until_state(shared, "node:cpu-0", SlotState.LEASED)
        await shared.dance()
        assert await counts(shared) == {"A": 1}
        a.shared.marks.over("node:cpu-0")
        await until_state(shared, "node:cpu-0", SlotState.READY)
        await shared.dance()
        await until_counts(shared, B=1)


async def test_quick_job_leaves_no_mark_behind(shared: Shared) -> None:
    async with seats(shared, "A") as (a,):
        await shared.add(slots(1, "A"))
        for number in range(5):
            a.open_jobs.add(f"job-{number}")
            a.shared.marks.leased("node:cpu-0", f"job-{number}")
            await until_state(shared, "node:cpu-0", SlotState.LEASED)
            a.shared.marks.over("node:cpu-0")
            await until_state(shared, "node:cpu-0", SlotState.READY)


async def test_slot_that_moved_while_its_lease_was_on_the_way_is_taken_back(shared: Shared) -> None:
    async with seats(shared, "A", "B") as (a, _):
        await shared.add(slots(1, "B"))
        a.open_jobs.add("job")
        a.shared.marks.leased("node:cpu-0", "job")
        await until_state(shared, "node:cpu-0", SlotState.LEASED)
        slot = (await shared.slots())["node:cpu-0"]
        assert (slot.owner, slot.epoch, slot.job_uuid) == ("A", 2, "job")


async def test_mark_of_an_attempt_that_is_not_open_any_more_is_taken_away(shared: Shared) -> None:
    leased = replace(slots(1, "A")[0], state=SlotState.LEASED, job_uuid="of-before")
    await shared.add([leased])
    async with seats(shared, "A"):
        await until_state(shared, "node:cpu-0", SlotState.READY)
        assert (await shared.slots())["node:cpu-0"].job_uuid == ""


async def test_slots_of_a_miner_that_left_go_to_the_others(shared: Shared) -> None:
    async with seats(shared, "A", "B"):
        async with seat(shared, "C", 3):
            await shared.add([*slots(3, "C"), replace(slots(1, "C", start=3)[0], pinned=True)])
        await eventually(lambda: _moved_to_living(shared))
        assert await counts(shared) == {"A": 1, "B": 2, "C": 1} or await counts(shared) == {
            "A": 2,
            "B": 1,
            "C": 1,
        }
        assert (await shared.owners())["node:cpu-3"] == "C"
        assert {record.why for record in await shared.history()} == {"owner_gone"}


async def _moved_to_living(shared: Shared) -> bool:
    return (await counts(shared))["C"] == 1


async def test_lease_of_a_miner_that_died_is_forgotten(shared: Shared) -> None:
    leased = replace(slots(1, "dead")[0], state=SlotState.LEASED, job_uuid="job")
    async with seats(shared, "A"):
        await shared.add([leased])
        await until_counts(shared, A=1)
        slot = (await shared.slots())["node:cpu-0"]
        assert (slot.state, slot.job_uuid) == (SlotState.READY, "")


async def test_drained_uid_loses_its_slots_and_gets_none_until_that_ends(shared: Shared) -> None:
    async with seats(shared, "A", "B"):
        await shared.add(slots(4, "A"))
        await shared.drain("A")
        await until_counts(shared, B=4)
        await shared.dance()
        assert await counts(shared) == {"B": 4}
        await shared.drain("A", drained=False)
        await shared.dance()
        await until_counts(shared, A=2, B=2)


async def test_pinned_slot_takes_no_part(shared: Shared) -> None:
    async with seats(shared, "A", "B", dance_largest_share=1.0, dance_least_per_class=0):
        await shared.any_choreographer()
        await shared.add(replace(slot, pinned=True) for slot in slots(4, "A"))
        await shared.drain("A")
        await shared.dance()
        assert await counts(shared) == {"A": 4}


async def test_choreographer_that_stops_is_followed_by_another(shared: Shared) -> None:
    async with seat(shared, "A", 1):
        async with seat(shared, "B", 2):
            assert await shared.any_choreographer() == "A"
        assert await shared.choreographer() == "A"
    async with seat(shared, "B", 2):
        assert await shared.any_choreographer() == "B"


async def test_miner_whose_session_ends_joins_again_and_the_role_is_taken_anew(shared: Shared) -> None:
    async with seats(shared, "A", "B"):
        lost = await shared.any_choreographer()
        _, before = (await shared.state()).roles[CHOREOGRAPHER]
        await shared.end_session(lost)

        async def restored() -> bool:
            state = await shared.state()
            _, now = state.roles.get(CHOREOGRAPHER, ("", None))
            return now not in {None, before} and set(state.members) == {"A", "B"}

        await eventually(restored)


async def test_dance_whose_choreographer_lost_its_lock_is_finished_by_the_next(shared: Shared) -> None:
    breaking = Breaking(shared.new_store(), 2, shared.keys.history)
    own = cast("Coordination", cast("Any", breaking))
    async with seat(shared, "A", 1, own, owner_gone_s=30) as a:
        assert await shared.any_choreographer() == "A"
        async with seat(shared, "B", 2, owner_gone_s=30) as b:
            await shared.add([*slots(75, "A"), *slots(75, "B", start=75)])
            await eventually(lambda: _sees(a, 150))
            await turned(shared, 5, a, b)
            first, *others = await shared.history()
            assert (first.by, len(first.moves)) == ("A", 58)
            assert sum(len(record.moves) for record in others) == 75 - 58
            assert breaking.refused
            danced = [slot for slot in (await shared.slots()).values() if slot.moved_cycle == 5]
            assert len(danced) == 75


async def test_new_choreographer_looks_at_what_the_last_one_has_moved(shared: Shared) -> None:
    late = LateReader(shared.new_store())
    own = cast("Coordination", cast("Any", late))
    last = await shared.store.open_session("the last choreographer", 60, ephemeral=True)
    assert await shared.store.acquire(shared.keys.role(CHOREOGRAPHER), "A", last)
    other = await shared.store.open_session("miner A", 60, ephemeral=True)
    member = as_json(Member("A", 1, f"127.0.0.1:1/{1:064}"))
    assert await shared.store.acquire(shared.keys.member("A"), member, other)
    async with seat(shared, "B", 2, own, owner_gone_s=30) as b:
        of_a, of_b = slots(40, "A"), slots(40, "B", start=40)
        await shared.add([*(replace(slot, uid=1) for slot in of_a), *(replace(slot, uid=2) for slot in of_b)])
        await eventually(lambda: _sees(b, 80))
        late.on_time.clear()
        for number in range(40):
            await shared.change(f"node:cpu-{number}", owner="B", uid=2, epoch=2, moved_cycle=5)
        await shared.store.close_session(last)
        await turned(shared, 5, b)
        assert await shared.history() == []
        late.on_time.set()


async def _sees(one: Seat, count: int) -> bool:
    return len(one.state.slots) == count


async def test_garbage_in_a_slot_s_key_is_named_and_the_rest_goes_on(shared: Shared, log: list[Any]) -> None:
    async with seats(shared, "A", "B"):
        await shared.any_choreographer()
        await shared.add(slots(4, "A"))
        garbage = shared.keys.slot("node:cpu-9")
        await shared.put(garbage, "{edited by hand")
        await shared.dance()
        await until_counts(shared, A=2, B=2)
        assert [each.key for each in (await shared.state()).garbage] == [garbage]
        assert any("cannot be read" in line["event"] and line["key"] == garbage for line in log)


async def test_slots_that_share_a_device_are_marked_until_that_ends(shared: Shared, log: list[Any]) -> None:
    one, two, other = slots(3, "A")
    async with seats(shared, "A", "B"):
        await shared.add(
            [replace(one, devices=("g1", "g2")), replace(two, devices=("g2",), owner="B"), other]
        )
        await until_state(shared, one.slot_id, SlotState.CLASHING)
        await until_state(shared, two.slot_id, SlotState.CLASHING)
        assert any("device g2 is in several slots" in line.get("why", "") for line in log)
        assert (await shared.slots())[other.slot_id].state is SlotState.READY
        await shared.change(two.slot_id, devices=("g3",), job_uuid="job")
        await until_state(shared, one.slot_id, SlotState.READY)


async def test_uid_that_is_known_late_reaches_member_and_slots(shared: Shared) -> None:
    async with seats(shared, "A") as (a,):
        await shared.add(slots(1, "A"))
        a.facts.uid = 77
        await eventually(lambda: _has_uid(shared, 77))


async def _has_uid(shared: Shared, uid: int) -> bool:
    state = await shared.state()
    return state.members["A"].uid == uid == state.slots["node:cpu-0"].uid


async def test_member_s_key_that_somebody_altered_is_written_again(shared: Shared) -> None:
    async with seats(shared, "A", "B") as (a, _):
        await shared.put(shared.keys.member("A"), as_json(Member("A", 9, "nowhere")))

        async def repaired() -> bool:
            return (await shared.state()).members.get("A") == a.shared.member()

        await eventually(repaired)


async def test_history_keeps_its_newest_lines_alone(shared: Shared) -> None:
    async with seats(shared, "A", "B") as both:
        for one in both:
            one.shared.choreographer.kept_history = 3
        for number in range(70):
            await shared.put(f"{shared.keys.history}2020-01-01T00:00:{number:02}", "{}")
        await shared.dance()

        async def shortened() -> bool:
            lines = (await shared.store.snapshot(shared.keys.history)).entries
            return sorted(lines) == [f"{shared.keys.history}2020-01-01T00:00:{n}" for n in (67, 68, 69)]

        await eventually(shortened)
