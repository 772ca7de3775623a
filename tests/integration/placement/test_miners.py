"""Whole miners of one coldkey and their executors: moves, deaths, refusals, and a store that goes away."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from horde_agents.placement.coordination import Delete
from horde_agents.placement.records import MainHotkey, SlotState, as_json
from horde_agents.testing.consul_server import ConsulServer
from tests.fixtures.waiting import eventually
from tests.integration.miner.conftest import new_uuid, signed_offer
from tests.integration.placement.conftest import CLASS, Shared, sharing_in_consul, slots
from tests.integration.placement.miners import Executor, executor, greeting, killable, serving, token_of


async def test_dance_sends_idle_executors_to_the_other_miner(shared: Shared, tmp_path: Path) -> None:
    async with (
        serving(tmp_path, shared, "a") as a,
        serving(tmp_path, shared, "b") as b,
        AsyncExitStack() as all_,
    ):
        records = slots(4, a.hotkey)
        await shared.add(records)
        executors = [await all_.enter_async_context(executor(record, a.address)) for record in records]
        await a.until_offers(4)
        links = [one.link for one in executors]
        await shared.dance()
        await a.until_offers(2)
        await b.until_offers(2)
        owners = await shared.owners()
        for record, one in zip(records, executors, strict=True):
            assert one.is_at(a.address if owners[record.slot_id] == a.hotkey else b.address)
        assert [one.link for one in executors] == links
        assert not any(one.keeping.done() for one in executors)


async def test_executor_that_asks_the_wrong_miner_is_sent_to_its_own(shared: Shared, tmp_path: Path) -> None:
    async with serving(tmp_path, shared, "a") as a, serving(tmp_path, shared, "b") as b:
        (record,) = slots(1, b.hotkey)
        await shared.add([record])
        async with executor(record, a.address) as one:
            await b.until_offers(1)
            assert one.is_at(b.address)
            assert await a.offers() == 0


async def test_leased_executor_stays_until_its_job_is_over(shared: Shared, tmp_path: Path) -> None:
    greedy = {"dance_least_per_class": 0, "dance_largest_share": 1.0}
    async with serving(tmp_path, shared, "a", **greedy) as a, serving(tmp_path, shared, "b", **greedy) as b:
        (record,) = slots(1, a.hotkey)
        await shared.add([record])
        async with executor(record, a.address) as one, a.validator() as validator:
            await a.until_offers(1)
            await validator.send(signed_offer(a, new_uuid()))
            await validator.expect("V0AcceptJobRequest")
            uuid = await one.begin_job()
            await until_state(shared, record.slot_id, SlotState.LEASED)
            assert (await shared.slots())[record.slot_id].job_uuid == uuid
            await shared.dance()
            await shared.drain(a.hotkey)
            assert (await shared.owners())[record.slot_id] == a.hotkey
            await validator.expect("V0ExecutorReadyRequest")
            await one.end_job()
            await validator.expect("V0HordeFailedRequest")
            await b.until_offers(1)
            assert (await shared.owners())[record.slot_id] == b.hotkey


async def test_holder_of_another_slot_cannot_take_a_running_job_over(shared: Shared, tmp_path: Path) -> None:
    async with serving(tmp_path, shared, "a") as a:
        leased, other = slots(2, a.hotkey)
        await shared.add([leased, other])
        async with executor(leased, a.address) as one, a.validator() as validator:
            await a.until_offers(1)
            await validator.send(signed_offer(a, new_uuid()))
            await validator.expect("V0AcceptJobRequest")
            uuid = await one.begin_job()
            await validator.expect("V0ExecutorReadyRequest")
            await one.stop()
            claim = {"running_job_uuid": uuid, "token": token_of(other)}
            async with greeting(leased, a.address, **claim) as thief:
                said = (await thief.expect("GenericError"))["details"]
            assert said == "the greeting names another slot than the token"
            async with greeting(leased, a.address, running_job_uuid=uuid) as holder:
                await holder.expect("HordeWelcome")


async def until_state(shared: Shared, slot_id: str, state: SlotState) -> None:
    async def check() -> bool:
        return (await shared.slots())[slot_id].state is state

    await eventually(check)


async def test_executors_of_a_killed_miner_find_those_that_joined_later(
    shared: Shared, tmp_path: Path
) -> None:
    async with killable(tmp_path, shared, "a") as a:
        (record,) = slots(1, a.hotkey)
        await shared.add([record])
        async with executor(record, a.address) as one:
            await eventually(lambda: _connected(one))
            async with serving(tmp_path, shared, "b") as b, serving(tmp_path, shared, "c") as c:
                await eventually(lambda: _knows(one, 3))
                assert await shared.choreographer() == a.hotkey
                a.process.kill()
                await a.process.wait()
                await shared.end_session(a.hotkey)  # as the store does after the time that its contract tests
                owner = await eventually(lambda: _owner_of(shared, record.slot_id, {b.hotkey, c.hotkey}))
                await (b if owner == b.hotkey else c).until_offers(1)
                assert await shared.any_choreographer() in {b.hotkey, c.hotkey}


async def _connected(one: Executor) -> bool:
    return one.link._socket is not None


async def _knows(one: Executor, count: int) -> bool:
    return len(one.book.addresses()) == count


async def _owner_of(shared: Shared, slot_id: str, wanted: set[str]) -> str | None:
    owner = (await shared.owners())[slot_id]
    return owner if owner in wanted else None


async def test_restarted_miner_takes_its_mark_from_a_slot(shared: Shared, tmp_path: Path) -> None:
    (record,) = slots(1)
    async with serving(tmp_path, shared, "a", drain_s=0) as a:
        record = replace(record, owner=a.hotkey, epoch=1)
        await shared.add([record])
        async with executor(record, a.address) as one, a.validator() as validator:
            await a.until_offers(1)
            await validator.send(signed_offer(a, new_uuid()))
            await one.begin_job()
            await until_state(shared, record.slot_id, SlotState.LEASED)
    assert (await shared.slots())[record.slot_id].state is SlotState.LEASED
    async with serving(tmp_path, shared, "a"):
        await until_state(shared, record.slot_id, SlotState.READY)


async def test_record_made_anew_does_not_lock_its_executor_out(shared: Shared, tmp_path: Path) -> None:
    async with serving(tmp_path, shared, "a") as a, serving(tmp_path, shared, "b") as b:
        record = replace(slots(1, b.hotkey)[0], epoch=9)
        await shared.add([record])
        async with executor(record, a.address) as one:
            await b.until_offers(1)
            assert one.book.epoch == 9
            await one.stop()
            key = shared.keys.slot(record.slot_id)
            assert await shared.store.commit([Delete(key, (await shared.state()).indices[key])])
            await shared.add([replace(record, epoch=0, owner="")])
            await eventually(lambda: _owner_of(shared, record.slot_id, {a.hotkey, b.hotkey}))
            one.start()
            await eventually(lambda: _connected(one))


async def test_both_miners_announce_the_horde_s_main_hotkey(shared: Shared, tmp_path: Path) -> None:
    async with serving(tmp_path, shared, "a") as a, serving(tmp_path, shared, "b") as b:
        async with a.validator() as validator:
            await validator.say(message_type="V0MainHotkeyMessage", main_hotkey=None)
            assert (await validator.expect("V0MainHotkeyMessage"))["main_hotkey"] == a.hotkey
        await shared.put(shared.keys.main_hotkey, as_json(MainHotkey(b.hotkey, 3)))
        for miner in (a, b):
            async with miner.validator() as validator:

                async def announced() -> bool:
                    await validator.say(message_type="V0MainHotkeyMessage", main_hotkey=None)
                    return bool((await validator.frame())["main_hotkey"] == b.hotkey)

                await eventually(announced)


async def test_slots_that_share_a_device_are_served_by_nobody(shared: Shared, tmp_path: Path) -> None:
    async with serving(tmp_path, shared, "a") as a, serving(tmp_path, shared, "b") as b:
        one, two = slots(2, a.hotkey)
        one, two = replace(one, devices=("g1", "g2")), replace(two, devices=("g3",), owner=b.hotkey)
        await shared.add([one, two])
        async with executor(one, a.address), executor(two, b.address):
            await a.until_offers(1)
            await b.until_offers(1)
            await shared.add([replace(two, slot_id="node:cpu-9", devices=("g1",))])
            await a.until_offers(0)
            async with greeting(one, a.address) as peer:
                said = (await peer.expect("GenericError"))["details"]
                assert said == f"slot {one.slot_id} shares a device with another slot"
            assert await b.offers() == 1


async def test_executor_with_the_wrong_papers_is_refused_with_a_sentence(
    shared: Shared, tmp_path: Path
) -> None:
    async with serving(tmp_path, shared, "a") as a:
        record = replace(slots(1, a.hotkey)[0], devices=("g1",))
        other = replace(record, slot_id="node:cpu-7")
        await shared.add([record])
        async with executor(record, a.address):
            await a.until_offers(1)
            async with greeting(record, a.address, come_from="127.0.0.2") as peer:
                said = (await peer.expect("GenericError"))["details"]
                assert said == f"the token of slot {record.slot_id} is in use from 127.0.0.1"
            for changed, says in (
                ({"devices": ["g2"]}, "reports devices g2; it was given g1"),
                ({"executor_class": "always_on.llm.a6000"}, f"its token is for {CLASS}"),
                ({"slot_id": other.slot_id}, "the greeting names another slot than the token"),
            ):
                async with greeting(record, a.address, **changed) as peer:
                    assert says in (await peer.expect("GenericError"))["details"]
            for token in (token_of(record, b"another secret"), token_of(record, expires_in_s=-1), "none"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    async with greeting(record, a.address, token):
                        pass
                assert refused.value.status == 401
            assert await a.offers() == 1


async def test_miners_serve_on_while_consul_is_away_and_nothing_moves(
    consul_program: Path, tmp_path: Path
) -> None:
    server = ConsulServer(consul_program, tmp_path / "consul")
    server.start()
    try:
        server.wait_ready()
        async with (
            sharing_in_consul(server) as shared,
            serving(tmp_path, shared, "a") as a,
            serving(tmp_path, shared, "b") as b,
        ):
            record, idle = slots(2, a.hotkey)
            await shared.add([record, idle])
            async with (
                executor(record, a.address) as one,
                executor(idle, a.address),
                a.validator() as validator,
            ):
                await a.until_offers(2)
                async with greeting(idle, b.address) as peer:
                    await peer.expect("HordeGoTo")  # by now the other miner has read of the slots, too
                server.process.stop()
                await validator.send(signed_offer(a, new_uuid()))
                await validator.expect("V0AcceptJobRequest")
                busy = one
                async with greeting(record, b.address) as peer:
                    assert (await peer.expect("HordeGoTo"))["address"] == str(a.address)
                assert (await a.offers(), await b.offers()) == (2, 0)
                server.start()
                server.wait_ready()
                await eventually(lambda: _one_is_leased(shared))
                await shared.drain(a.hotkey)
                await b.until_offers(1)
                del busy
    finally:
        server.process.stop()


async def _one_is_leased(shared: Shared) -> bool:
    return SlotState.LEASED in {slot.state for slot in (await shared.slots()).values()}
