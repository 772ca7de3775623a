"""Which slots move to which UID: what a dance may and may not do."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.placement.dance import (
    DanceRules,
    Move,
    Why,
    clashes,
    dance_moves,
    homeless_moves,
    minimum_moves,
    next_main_hotkey,
)
from horde_agents.placement.records import HordeState, MainHotkey, Slot, SlotState
from tests.unit.placement.hordes import CLASSES, after, horde, hordes, slot

_MOVABLE = frozenset({SlotState.VACANT, SlotState.READY})
_SEEDS = st.integers(0, 2**32)
_RULES = st.builds(DanceRules, st.integers(0, 3), st.floats(0, 1))
CYCLE = 7


def _owners(moves: list[Move]) -> Counter[str]:
    return Counter(move.to.hotkey for move in moves)


def _per_owner(state: HordeState) -> Counter[tuple[str, str]]:
    return Counter((each.executor_class, each.owner) for each in state.slots.values())


def test_new_slots_are_spread_evenly() -> None:
    state = horde([slot(number, "") for number in range(6)], ("A", "B", "C"))
    moves = homeless_moves(state, [], Random(1))
    assert _owners(moves) == {"A": 2, "B": 2, "C": 2}
    assert {move.why for move in moves} == {Why.NEW}


def test_new_slot_goes_to_who_has_fewest_of_its_class() -> None:
    other = [slot(number, "B", executor_class=CLASSES[1]) for number in range(1, 5)]
    state = horde([slot(0, "A"), *other, slot(9, "")])
    assert _owners(homeless_moves(state, [], Random(1))) == {"B": 1}


def test_slots_of_a_drained_uid_move_to_the_others() -> None:
    state = horde([slot(0), slot(1), slot(2, "B")], drained=["A"])
    moves = homeless_moves(state, [], Random(1))
    assert {(move.slot.slot_id, move.to.hotkey, move.why) for move in moves} == {
        ("node:cpu-0", "B", Why.DRAINED),
        ("node:cpu-1", "B", Why.DRAINED),
    }


def test_leased_slot_of_a_drained_uid_stays_until_its_job_is_over() -> None:
    assert homeless_moves(horde([slot(0, state=SlotState.LEASED)], drained=["A"]), [], Random(1)) == []


def test_slots_stay_when_all_uids_are_drained() -> None:
    assert homeless_moves(horde([slot(0)], drained=["A", "B"]), ["A"], Random(1)) == []


def test_slots_of_an_absent_owner_move_only_once_it_is_gone() -> None:
    state = horde([slot(0, "C"), slot(1, "C", SlotState.LEASED)])
    assert homeless_moves(state, [], Random(1)) == []
    assert [move.why for move in homeless_moves(state, ["C"], Random(1))] == [Why.OWNER_GONE] * 2


def test_owner_that_has_come_back_keeps_its_slots() -> None:
    assert homeless_moves(horde([slot(0, "A")]), ["A"], Random(1)) == []


@pytest.mark.parametrize("owner", ["A", "C"])
def test_pinned_slot_waits_for_its_drained_or_absent_owner(owner: str) -> None:
    state = horde([slot(0, owner, pinned=True)], drained=["A"])
    assert homeless_moves(state, ["C"], Random(1)) == []


def test_dance_moves_the_share_and_no_more() -> None:
    state = horde([slot(number, "AB"[number % 2]) for number in range(10)])
    assert len(dance_moves(state, DanceRules(1, 0.3), CYCLE, Random(1))) == 3


def test_second_dance_of_a_cycle_moves_nothing_more() -> None:
    state = horde([slot(number, "AB"[number % 2]) for number in range(10)])
    once = after(state, dance_moves(state, DanceRules(1, 0.3), CYCLE, Random(1)), CYCLE)
    assert dance_moves(once, DanceRules(1, 0.3), CYCLE, Random(2)) == []
    assert len(dance_moves(once, DanceRules(1, 0.3), CYCLE + 1, Random(2))) == 3


def test_dance_that_was_broken_off_is_finished() -> None:
    state = horde([slot(number, "AB"[number % 2]) for number in range(10)])
    half = dance_moves(state, DanceRules(0, 0.4), CYCLE, Random(1))[:1]
    assert len(dance_moves(after(state, half, CYCLE), DanceRules(0, 0.4), CYCLE, Random(2))) == 3


def test_dances_without_a_known_cycle_are_each_their_own() -> None:
    state = horde([slot(number, "AB"[number % 2]) for number in range(10)])
    assert len(dance_moves(after(state, [], 0), DanceRules(0, 0.3), None, Random(1))) == 3


def test_last_slot_of_a_class_stays_with_its_uid() -> None:
    state = horde([slot(0, "A"), slot(1, "B"), slot(2, "A", executor_class=CLASSES[1])])
    assert dance_moves(state, DanceRules(1, 1.0), CYCLE, Random(1)) == []


@pytest.mark.parametrize(
    "still",
    [
        slot(0, state=SlotState.LEASED),
        slot(0, state=SlotState.CLASHING),
        slot(0, pinned=True),
        slot(0, "C"),
        slot(0, ""),
    ],
    ids=["leased", "clashing", "pinned", "owner absent", "no owner"],
)
def test_slot_that_may_not_dance_stays(still: Slot) -> None:
    assert dance_moves(horde([still]), DanceRules(0, 1.0), CYCLE, Random(1)) == []


def test_one_uid_alone_does_not_dance() -> None:
    assert dance_moves(horde([slot(0), slot(1)], ["A"]), DanceRules(0, 1.0), CYCLE, Random(1)) == []


def test_uid_that_rests_neither_gives_nor_takes() -> None:
    slots = [slot(number, "ABC"[number % 3]) for number in range(12)]
    moves = dance_moves(horde(slots, ("A", "B", "C"), resting=["C"]), DanceRules(0, 1.0), CYCLE, Random(1))
    assert moves
    assert "C" not in {move.to.hotkey for move in moves} | {move.slot.owner for move in moves}


@given(hordes(), st.lists(st.sampled_from(("gone", "A", "B"))), _SEEDS)
def test_homeless_slots_find_a_living_undrained_uid(state: HordeState, gone: list[str], seed: int) -> None:
    moves = homeless_moves(state, gone, Random(seed))
    targets = state.members.keys() - state.uid_wishes.keys()
    assert all(move.to.hotkey in targets for move in moves)
    assert len({move.slot.slot_id for move in moves}) == len(moves)
    done = after(state, moves)
    assert done.slots.keys() == state.slots.keys()
    assert homeless_moves(done, gone, Random(seed)) == []
    if targets:
        free = [each for each in done.slots.values() if not each.pinned]
        movable = [each for each in free if each.state in {SlotState.VACANT, SlotState.READY}]
        assert all(each.owner and each.owner not in state.members.keys() - targets for each in movable)


@given(hordes(), _RULES, st.sampled_from((None, 7, 8)), _SEEDS)
def test_dance_keeps_to_its_rules(state: HordeState, rules: DanceRules, cycle: int | None, seed: int) -> None:
    moves = dance_moves(state, rules, cycle, Random(seed))
    dancers = {hotkey for hotkey, each in state.members.items() if each.may_dance}
    assert {m.to.hotkey for m in moves} <= dancers - state.uid_wishes.keys()
    assert all(m.to.hotkey != m.slot.owner and m.slot.state is not SlotState.LEASED for m in moves)
    done = after(state, moves, CYCLE)
    assert done.slots.keys() == state.slots.keys()
    for name in CLASSES:
        of_class = [each for each in state.slots.values() if each.executor_class == name]
        before = sum(each.moved_cycle == cycle for each in of_class) if cycle is not None else 0
        moved = sum(move.slot.executor_class == name for move in moves)
        assert not moved or before + moved <= rules.largest_share * len(of_class)
    counts, then = _per_owner(done), _per_owner(state)
    assert all(counts[each] >= min(then[each], rules.least_per_class) for each in then)


@given(hordes(), _SEEDS)
def test_moved_slots_have_a_newer_epoch(state: HordeState, seed: int) -> None:
    moves = dance_moves(state, DanceRules(0, 1.0), None, Random(seed))
    done = after(state, moves)
    assert all(done.slots[move.slot.slot_id].epoch == move.slot.epoch + 1 for move in moves)


def test_main_hotkey_changes_to_another_that_lives_and_is_not_drained() -> None:
    state = horde([], ("A", "B", "C"), drained=["C"])
    state = HordeState(members=state.members, uid_wishes=state.uid_wishes, main_hotkey=MainHotkey("A", 6))
    assert {next_main_hotkey(state, Random(seed)) for seed in range(20)} == {"B"}


def test_only_uid_stays_the_main_hotkey() -> None:
    state = HordeState(members=horde([], ["A"]).members, main_hotkey=MainHotkey("A", 6))
    assert next_main_hotkey(state, Random(1)) == "A"
    assert next_main_hotkey(HordeState(), Random(1)) is None


def _with_devices(number: int, *devices: str, node: str = "n", state: SlotState = SlotState.READY) -> Slot:
    return slot(number, state=state, devices=devices, node=node)


def test_overlapping_device_sets_clash_on_both_sides() -> None:
    slots = [_with_devices(0, "g1", "g2"), _with_devices(1, "g2"), _with_devices(2, "g3")]
    found = clashes({each.slot_id: each for each in slots})
    assert found == dict.fromkeys(
        ["node:cpu-0", "node:cpu-1"], "device g2 is in several slots: node:cpu-0, node:cpu-1"
    )


def test_one_gpu_on_two_nodes_clashes() -> None:
    here = _with_devices(0, "g1")
    there = replace(_with_devices(1, "g1"), node="other")
    assert set(clashes({each.slot_id: each for each in (here, there)})) == {"node:cpu-0", "node:cpu-1"}


def test_vacant_slot_clashes_with_nobody() -> None:
    slots = [_with_devices(0, "g1"), _with_devices(1, "g1", state=SlotState.VACANT)]
    assert clashes({each.slot_id: each for each in slots}) == {}


def test_slots_without_devices_do_not_clash() -> None:
    assert clashes({each.slot_id: each for each in (slot(0), slot(1))}) == {}


def test_newcomer_gets_its_minimum_from_whoever_has_most() -> None:
    state = horde([*(slot(number, "A") for number in range(4)), slot(4, "B"), slot(5, "B")], ("A", "B", "C"))
    moves = minimum_moves(state, DanceRules(least_per_class=1), Random(1))
    assert [(move.slot.owner, move.to.hotkey, move.why) for move in moves] == [("A", "C", Why.MINIMUM)]


def test_nobody_gives_below_its_own_minimum() -> None:
    state = horde([slot(0, "A"), slot(1, "B")], ("A", "B", "C"))
    assert minimum_moves(state, DanceRules(least_per_class=1), Random(1)) == []


@given(hordes(), _RULES, _SEEDS)
def test_minimum_moves_settle(state: HordeState, rules: DanceRules, seed: int) -> None:
    moves = minimum_moves(state, rules, Random(seed))
    assert all(not move.slot.pinned and move.slot.state in _MOVABLE for move in moves)
    assert minimum_moves(after(state, moves), rules, Random(seed)) == []
