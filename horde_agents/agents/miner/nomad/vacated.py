"""Ends attempts whose holder Nomad has ended, as soon as the keeper has written that down."""

from collections.abc import Mapping

from horde_agents.agents.miner.attempts import Attempts
from horde_agents.agents.miner.placed.view import PlacementView, next_change
from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import Role
from horde_agents.placement.records import Slot, SlotState
from horde_agents.placement.standings import MEANINGS, Standing

#: Seconds between two looks: an executor's link may break after its record has changed.
_LOOK_S = 1.0


async def end_vacated(view: PlacementView, attempts: Attempts) -> None:
    """Look after every change, for ever. An executor that is connected is believed, whatever is written."""
    allocations: dict[str, str] = {}
    with view.changes() as changed:
        while True:
            allocations = _noted(allocations, view, attempts)
            for attempt in attempts.without_executor():
                slot = view.state.slots.get(attempt.slot_id)
                failure = _failure(slot) or _replaced(slot, allocations.get(attempt.uuid, ""))
                if failure is not None:
                    await attempts.failed(attempt.uuid, failure)
            await next_change(changed, _LOOK_S)


def _noted(known: Mapping[str, str], view: PlacementView, attempts: Attempts) -> dict[str, str]:
    """The allocation on whose executor each open attempt was seen, as long as it was connected."""
    noted = {}
    for attempt in attempts.all_open():
        slot = view.state.slots.get(attempt.slot_id)
        if attempt.executor is not None and slot is not None and slot.job_uuid == attempt.uuid:
            noted[attempt.uuid] = slot.allocation_id
        elif attempt.uuid in known:
            noted[attempt.uuid] = known[attempt.uuid]
    return noted


def _replaced(slot: Slot | None, allocation_id: str) -> HordeFailed | None:
    """The slot may have its next holder before anybody saw it vacant."""
    if slot is None or not allocation_id or slot.allocation_id in {"", allocation_id}:
        return None
    says = f"Slot {slot.slot_id}: its holder has ended, and another has its place."
    return HordeFailed(Role.MINER, HordeFaultReason.EXECUTOR_DISCONNECTED, says)


def _failure(slot: Slot | None) -> HordeFailed | None:
    """What Nomad's word on the slot's last holder means for an attempt; none while it may still report."""
    if slot is None or slot.state is not SlotState.VACANT or slot.ended not in set(Standing):
        return None
    meaning = MEANINGS[Standing(slot.ended)]
    if meaning.fault is None:
        return None
    return HordeFailed(Role.MINER, meaning.fault, f"Slot {slot.slot_id}: {meaning.says}.")
