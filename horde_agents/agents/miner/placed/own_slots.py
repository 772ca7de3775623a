"""Records the slots of an embedded pool, which no keeper does: its holders live and end with this miner."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from horde_agents.agents.miner.placed.view import PlacementView, next_change
from horde_agents.placement.coordination import CoordinationAway, CoordinationDenied, Put
from horde_agents.placement.records import Member, Slot, SlotState, as_json
from horde_agents.runtime.logs import get_logger

_LOOK_S = 5.0
_log = get_logger(__name__)


@dataclass(slots=True)
class OwnSlotRecords:
    """``slots`` are class by slot id, as the pool keeps them."""

    view: PlacementView
    slots: Mapping[str, str]

    async def keep(self, me: Member) -> None:
        """Look after every change that the records are there."""
        with self.view.changes() as changed:
            while True:
                if self.view.trouble is None:
                    await self._register(me)
                await next_change(changed, _LOOK_S)

    async def _register(self, me: Member) -> None:
        state = self.view.state
        for slot_id, executor_class in self.slots.items():
            known = state.slots.get(slot_id)
            key = self.view.keys.slot(slot_id)
            if known is None:
                wanted = Slot(
                    slot_id, executor_class, slot_id.partition(":")[0], owner=me.hotkey, uid=me.uid, epoch=1
                )
                wanted = replace(wanted, state=SlotState.READY)
            elif known.state is SlotState.VACANT or known.executor_class != executor_class:
                wanted = replace(
                    known, executor_class=executor_class, state=SlotState.READY, ended="", says=""
                )
            else:
                continue
            try:
                await self.view.coordination.commit([Put(key, as_json(wanted), state.indices.get(key, 0))])
            except (CoordinationAway, CoordinationDenied) as error:
                _log.warning("slot not recorded", slot=slot_id, why=str(error))
