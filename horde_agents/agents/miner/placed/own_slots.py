"""Records the slots of an embedded pool, which no keeper does: its holders live and end with this miner."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from horde_agents.agents.miner.placed.view import PlacementView, next_change
from horde_agents.placement.coordination import CoordinationAway, CoordinationDenied, Put
from horde_agents.placement.records import Member, Slot, SlotState, as_json
from horde_agents.runtime.logs import get_logger

_LOOK_S: Final = 5.0
_LAST_WORD_S: Final = 2.0
_STOPPED: Final = "its miner has stopped"
_log = get_logger(__name__)


@dataclass(slots=True)
class OwnSlotRecords:
    """``slots`` are class by slot id, as the pool keeps them."""

    view: PlacementView
    slots: Mapping[str, str]

    async def keep(self, member: Callable[[], Member]) -> None:
        """Look after every change that the records are there; in the end, that they say vacant."""
        try:
            with self.view.changes() as changed:
                while True:
                    if self.view.trouble is None:
                        await self._register(member())
                    await next_change(changed, _LOOK_S)
        except asyncio.CancelledError:
            await self._vacate()
            raise

    async def _register(self, me: Member) -> None:
        state = self.view.state
        for slot_id, executor_class in self.slots.items():
            key, known = self.view.keys.slot(slot_id), state.slots.get(slot_id)
            wanted = _wanted(known, slot_id, executor_class, me)
            if wanted == known:
                continue
            try:
                await self.view.coordination.commit([Put(key, as_json(wanted), state.indices.get(key, 0))])
            except (CoordinationAway, CoordinationDenied) as error:
                _log.warning("slot not recorded", slot=slot_id, why=str(error))

    async def _vacate(self) -> None:
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                for slot_id in self.slots:
                    slot, index = await self.view.slot_now(slot_id)
                    if slot is not None:
                        vacant = replace(slot, state=SlotState.VACANT, job_uuid="", says=_STOPPED)
                        await self.view.coordination.commit(
                            [Put(self.view.keys.slot(slot_id), as_json(vacant), index)]
                        )
        except (CoordinationAway, CoordinationDenied, TimeoutError) as error:
            _log.info("slots stay recorded as kept", why=str(error))


def _wanted(known: Slot | None, slot_id: str, executor_class: str, me: Member) -> Slot:
    """What the record of a slot of ours has to say: a new one, or one that cannot be read, is ours."""
    if known is None:
        node = slot_id.partition(":")[0]
        return Slot(
            slot_id, executor_class, node, owner=me.hotkey, uid=me.uid, epoch=1, state=SlotState.READY
        )
    state = SlotState.READY if known.state is SlotState.VACANT else known.state
    return replace(
        known,
        executor_class=executor_class,
        devices=(),
        state=state,
        allocation_id="",
        ended="" if state is not known.state else known.ended,
        says="" if state is not known.state else known.says,
    )
