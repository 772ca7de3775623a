"""Writes behind, into the shared picture, which slots are leased: so that others leave them where they are.

The lease itself is in the miner's own store. Where a slot was moved while its lease was on the way here,
the old owner takes it back until the job is over.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from horde_agents.agents.miner.placed.view import PlacementView, next_change
from horde_agents.agents.miner.placed.writes import chunks, commit_each
from horde_agents.placement.coordination import MAX_CHANGES, CoordinationAway, CoordinationDenied, Put
from horde_agents.placement.records import Member, Slot, SlotState, as_json
from horde_agents.runtime.logs import get_logger

_RETRY_S: Final = 1.0
_SWEEP_S: Final = 30.0
_log = get_logger(__name__)


@dataclass(slots=True)
class LeaseMarks:
    """The marks that are still to be written; a slot's newest alone counts."""

    view: PlacementView
    member: Callable[[], Member]
    _wanted: dict[str, str] = field(default_factory=dict)
    _due: asyncio.Event = field(default_factory=asyncio.Event)

    def leased(self, slot_id: str, job_uuid: str) -> None:
        """An attempt runs on the slot."""
        self._wanted[slot_id] = job_uuid
        self._due.set()

    def over(self, slot_id: str) -> None:
        """No attempt runs on the slot."""
        self._wanted[slot_id] = ""
        self._due.set()

    async def write(self) -> None:
        """Write marks for ever; a store that is away delays them and nothing else."""
        while True:
            await self._due.wait()
            self._due.clear()
            wanted = dict(self._wanted)
            try:
                unwritten = await self._write(wanted) if wanted else set()
            except (CoordinationAway, CoordinationDenied):
                unwritten = set(wanted)
            for slot_id, job_uuid in wanted.items():
                if slot_id not in unwritten and self._wanted.get(slot_id) == job_uuid:
                    del self._wanted[slot_id]
            if unwritten:
                await self._look_again()

    async def sweep(self, is_open: Callable[[str], bool]) -> None:
        """Take away, for ever, marks of ours whose attempt is not open: it ended with a miner of before."""
        with self.view.changes() as changed:
            while True:
                for slot in self.view.state.slots.values():
                    if self._is_stale(slot, is_open):
                        await self._take_away(slot.slot_id, is_open)
                await next_change(changed, _SWEEP_S)

    def _is_stale(self, slot: Slot, is_open: Callable[[str], bool]) -> bool:
        return bool(slot.job_uuid) and slot.owner == self.member().hotkey and not is_open(slot.job_uuid)

    async def _take_away(self, slot_id: str, is_open: Callable[[str], bool]) -> None:
        try:
            slot, index = await self.view.slot_now(slot_id)
            if slot is not None and self._is_stale(slot, is_open):
                unmarked = as_json(_marked(slot, self.member(), ""))
                await self.view.coordination.commit([Put(self.view.keys.slot(slot_id), unmarked, index)])
        except (CoordinationAway, CoordinationDenied) as error:
            _log.info("stale lease mark stays", slot=slot_id, why=str(error))

    async def _write(self, wanted: Mapping[str, str]) -> set[str]:
        """Write marks; those slots whose mark is still to be written, because it was not so now.

        It reads the slots anew, because the picture may not yet have the marks that it wrote just before.
        """
        me, puts, unwritten = self.member(), {}, set()
        for slot_id, (slot, index) in (await self.view.slots_now(wanted)).items():
            job_uuid = wanted[slot_id]
            if slot is None:  # unreadable or not there now; the mark of a lease waits for its slot
                unwritten |= {slot_id} if job_uuid else set()
                continue
            marked = _marked(slot, me, job_uuid)
            if marked.owner != slot.owner:
                _log.info(
                    "slot was moved during a job, taken back until it is over", slot=slot_id, job=job_uuid
                )
            if marked != slot:
                puts[slot_id] = Put(self.view.keys.slot(slot_id), as_json(marked), index)
        for some in chunks(list(puts), MAX_CHANGES):
            if await commit_each(self.view.coordination, [puts[slot_id] for slot_id in some]) < len(some):
                unwritten |= set(some)
        return unwritten

    async def _look_again(self) -> None:
        with self.view.changes() as changed:
            await next_change(changed, _RETRY_S)
        self._due.set()


def _marked(slot: Slot, me: Member, job_uuid: str) -> Slot:
    """The slot with its mark: a lease of ours on a slot that was given away takes it back."""
    clashes = slot.state is SlotState.CLASHING
    if job_uuid:
        if slot.owner != me.hotkey:
            slot = replace(slot, owner=me.hotkey, uid=me.uid, epoch=slot.epoch + 1)
        return replace(slot, state=slot.state if clashes else SlotState.LEASED, job_uuid=job_uuid)
    if slot.owner == me.hotkey and slot.job_uuid:
        return replace(slot, state=slot.state if clashes else SlotState.READY, job_uuid="")
    return slot
