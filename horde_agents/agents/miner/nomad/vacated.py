"""Ends attempts whose holder Nomad has ended, as soon as the keeper has written that down."""

from horde_agents.agents.miner.attempts import Attempts
from horde_agents.agents.miner.placed.view import PlacementView, next_change
from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.states import Role
from horde_agents.placement.records import Slot, SlotState
from horde_agents.placement.standings import MEANINGS, Standing

#: Seconds between two looks: an executor's link may break after its record has changed.
_LOOK_S = 1.0


async def end_vacated(view: PlacementView, attempts: Attempts) -> None:
    """Look after every change, for ever. An executor that is connected is believed, whatever is written."""
    with view.changes() as changed:
        while True:
            for attempt in attempts.without_executor():
                failure = _failure(view.state.slots.get(attempt.slot_id))
                if failure is not None:
                    await attempts.failed(attempt.uuid, failure)
            await next_change(changed, _LOOK_S)


def _failure(slot: Slot | None) -> HordeFailed | None:
    """What Nomad's word on the slot's last holder means for an attempt; none while it may still report."""
    if slot is None or slot.state is not SlotState.VACANT or slot.ended not in set(Standing):
        return None
    meaning = MEANINGS[Standing(slot.ended)]
    if meaning.fault is None:
        return None
    return HordeFailed(Role.MINER, meaning.fault, f"Slot {slot.slot_id}: {meaning.says}.")
