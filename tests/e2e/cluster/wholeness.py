"""What holds after every story, whatever was killed in it; and what may not be broken even for a moment."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from horde_agents.clients.cluster_http import ServerAway
from horde_agents.jobs.states import FINAL, JobState
from horde_agents.placement.coordination import CoordinationAway
from horde_agents.placement.records import HordeState, SlotState
from horde_agents.protocol.signing import from_hex, verify
from horde_agents.receipts.payloads import ReceiptType, read_payload, signed_text
from tests.e2e.cluster.jobs import Jobs
from tests.e2e.cluster.sight import Sight
from tests.e2e.users import cause_of, state_of

_LOOK_S = 0.5
_PATIENCE_S = 120.0
_FINAL = {state.value for state in FINAL}


async def whole_again(sight: Sight, jobs: Jobs | None = None) -> None:
    """Wait until nothing is wrong with ``jobs``, nor with the horde; fail with what stays wrong."""
    wrong = ["nobody has looked"]
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while wrong:
                try:
                    wrong = await _what_is_wrong(sight)
                except (CoordinationAway, ServerAway, OSError) as error:
                    wrong = [repr(error)]
                if wrong:
                    await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise AssertionError("still wrong:\n" + "\n".join(wrong)) from None
    if jobs is not None:
        final = {job["uuid"] for job in jobs.ended if state_of(job) in _FINAL}
        assert final == set(jobs.sent)
        assert all(cause_of(job)[0] for job in jobs.ended if state_of(job) != "completed")


@asynccontextmanager
async def never_twice(sight: Sight) -> AsyncIterator[None]:
    """Look on all the while that no GPU is in two places."""
    seen: list[str] = []
    looking = asyncio.create_task(_look_for_twins(sight, seen))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])
    assert not seen, "\n".join(seen)


async def _look_for_twins(sight: Sight, seen: list[str]) -> None:
    while True:
        found = _twins("holders on the machine", await asyncio.to_thread(_held_by_process, sight))
        try:
            found += _slot_twins(await sight.placement())
            live = await sight.live_allocations()
            held = [(row.allocation_id, device) for row in live for device in row.devices]
            found += _twins("live allocations", held)
        except (CoordinationAway, ServerAway):
            pass  # there is nothing to see while the servers are away
        seen += [line for line in found if line not in seen]
        await asyncio.sleep(_LOOK_S)


async def _what_is_wrong(sight: Sight) -> list[str]:
    state = await sight.placement()
    live = await sight.live_allocations()
    by_allocation = {row.allocation_id: row.devices for row in live}
    wrong = [
        f"allocation {row.allocation_id} is {row.client_status}, to {row.desired_status}"
        for row in live
        if (row.client_status, row.desired_status) != ("running", "run")
    ]
    wrong += _slot_twins(state)
    wrong += _wrong_slots(sight, state, by_allocation)
    wrong += await asyncio.to_thread(_wrong_on_the_machine, sight, by_allocation)
    wrong += await asyncio.to_thread(_wrong_at_the_agents, sight, state)
    return wrong + await asyncio.to_thread(_wrong_receipts, sight)


def _wrong_slots(sight: Sight, state: HordeState, live: dict[str, tuple[str, ...]]) -> list[str]:
    miners = {sight.cluster.horde.hotkeys[name] for name in sight.cluster.horde.miners}
    wrong = [f"no member {sight.name_of(hotkey)}" for hotkey in miners - state.members.keys()]
    if sorted(device for slot in state.slots.values() for device in slot.devices) != sight.devices:
        wrong.append(f"slots are {sorted(state.slots)}, devices {sight.devices}")
    for slot in state.slots.values():
        if slot.state is not SlotState.READY or slot.job_uuid:
            wrong.append(
                f"slot {slot.slot_id} is {slot.state} {slot.says} with job {slot.job_uuid or 'none'}"
            )
        if slot.owner not in state.members:
            wrong.append(f"slot {slot.slot_id} serves {slot.owner or 'nobody'}, who is away")
        if live.get(slot.allocation_id) != slot.devices:
            wrong.append(f"slot {slot.slot_id} names allocation {slot.allocation_id or 'none'}")
    return wrong + [f"garbage {garbage}" for garbage in state.garbage]


def _wrong_on_the_machine(sight: Sight, live: dict[str, tuple[str, ...]]) -> list[str]:
    holders = sight.holders()
    wrong = [f"container {container} is left" for container in sight.containers()]
    if {holder.allocation_id: holder.devices for holder in holders} != live or len(holders) != len(live):
        wrong.append(f"holders on the machine are {holders}, live allocations {live}")
    wrong += [
        f"holder {holder} has {len(executors)} executors"
        for holder, executors in sight.executors().items()
        if len(executors) != 1
    ]
    return wrong


def _wrong_at_the_agents(sight: Sight, state: HordeState) -> list[str]:
    """Every slot idle at its owner's, and in the manifest that the validator has of it."""
    owned = Counter(slot.owner for slot in state.slots.values())
    offered, wrong = sight.offered(), []
    for name in sight.cluster.horde.miners:
        hotkey = sight.cluster.horde.hotkeys[name]
        idle = sight.idle(name)
        if idle != owned[hotkey]:
            wrong.append(f"{name} has {idle} idle executors of {owned[hotkey]} slots")
        if offered[hotkey] != owned[hotkey]:
            wrong.append(f"{name} offers {offered[hotkey]} executors of {owned[hotkey]} slots")
        wrong += [f"{name} has slot {slot} leased" for slot in sight.open_leases(name)]
    return wrong


def _wrong_receipts(sight: Sight) -> list[str]:
    """Every completed attempt has its receipts with its miner, signed by both, and so has every accepted
    one those that its validator has signed."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in sight.receipts():
        payload = read_payload(line["payload"])
        text = signed_text(payload)
        for hotkey, signature in (
            (payload.validator_hotkey, line["validator_signature"]),
            (payload.miner_hotkey, line["miner_signature"]),
        ):
            if not verify(hotkey, text, from_hex(signature)):
                return [f"receipt {json.dumps(line)} is not signed by {hotkey}"]
        found[payload.job_uuid, payload.miner_hotkey].add(payload.receipt_type.value)
    issued, wrong = sight.issued(), []
    for attempt in sight.attempts():
        wanted = issued[attempt.uuid] if ReceiptType.ACCEPTED.value in issued[attempt.uuid] else set()
        if attempt.state == JobState.COMPLETED.value:
            wanted = {ReceiptType.STARTED.value, ReceiptType.ACCEPTED.value, ReceiptType.FINISHED.value}
        missing = wanted - found[attempt.uuid, attempt.miner_hotkey]
        if missing:
            wrong.append(f"attempt {attempt} lacks receipts {sorted(missing)}")
        if attempt.state not in _FINAL:
            wrong.append(f"attempt {attempt} is not final")
    return wrong


def _slot_twins(state: HordeState) -> list[str]:
    held = [
        (slot.slot_id, device)
        for slot in state.slots.values()
        if slot.state is not SlotState.VACANT
        for device in slot.devices
    ]
    return _twins("live slots", held)


def _held_by_process(sight: Sight) -> list[tuple[str, str]]:
    return [(f"pid {holder.pid}", device) for holder in sight.holders() for device in holder.devices]


def _twins(where: str, held: Iterable[tuple[str, str]]) -> list[str]:
    by_device: dict[str, list[str]] = defaultdict(list)
    for keeper, device in held:
        by_device[device].append(keeper)
    return [
        f"device {device} is in several {where}: {keepers}"
        for device, keepers in by_device.items()
        if len(keepers) > 1
    ]
