"""Keeps the number of holders right while this miner is the keeper, and the slots' records true to Nomad."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from horde_agents.agents.miner.nomad.holder_jobs import HolderJobs
from horde_agents.agents.miner.nomad.picture import Picture, parent_id, take_picture, wanted_counts
from horde_agents.agents.miner.placed.view import PlacementView
from horde_agents.clients.cluster_http import ServerAway, ServerDenied, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.placement.coordination import (
    Change,
    CoordinationAway,
    CoordinationDenied,
    Delete,
    Held,
    Put,
)
from horde_agents.placement.holders import Dispatch, Holder, KeepingPlan, Stop, keeping_plan
from horde_agents.placement.records import SlotState, as_json
from horde_agents.placement.register import Correction, corrections
from horde_agents.placement.standings import MEANINGS, Standing
from horde_agents.runtime.logs import get_logger

#: Seconds between two looks when nothing is heard.
_LOOK_S: Final = 15.0
#: Seconds in which many events become one look.
_GATHER_S: Final = 0.1
_RETRY_S: Final = 2.0
_log = get_logger(__name__)


@dataclass(slots=True)
class Keeper:
    """``shortages`` says, by class, how many holders wait for a place."""

    nomad: Nomad
    view: PlacementView
    jobs: HolderJobs
    horde: str
    node_pool: str
    configured: Mapping[str, int]
    shortages: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    trouble: str | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self, fence: Held) -> None:
        """Look after every event, and from time to time; what fails is tried again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear(), name="nomad events")
            with self.view.changes() as changed:
                while True:
                    await self._try_look(fence)
                    await self._next_news(changed)

    async def _hear(self) -> None:
        async for _ in self.nomad.events():
            self._news.set()

    async def _next_news(self, changed: asyncio.Event) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in (self._news, changed)]
        await asyncio.wait(waiting, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.sleep(_GATHER_S)
        self._news.clear()
        changed.clear()

    async def _try_look(self, fence: Held) -> None:
        try:
            await self._look(fence)
            self.trouble = None
        except (ServerAway, ServerDenied, ServerRefused, CoordinationAway, CoordinationDenied) as error:
            if self.trouble is None:
                _log.warning("holders are not kept now", why=str(error))
            self.trouble = str(error)
            await asyncio.sleep(_RETRY_S)

    async def _look(self, fence: Held) -> None:
        picture = await take_picture(self.nomad, self.horde, self.node_pool, CATALOGUE)
        wishes = {name: wish.holders for name, wish in self.view.state.pool_wishes.items()}
        wanted = wanted_counts(self.configured, wishes, picture.nodes, CATALOGUE)
        await self._correct(picture, fence)
        await self._perform(keeping_plan(wanted, picture.holders), picture)
        self._report_shortages(picture)

    async def _perform(self, plan: KeepingPlan, picture: Picture) -> None:
        for stop in [*plan.stops, *self._off_draining_nodes(picture)]:
            if not self._is_leased(stop.nomad_job_id, picture):
                _log.info("stopping a holder", nomad_job=stop.nomad_job_id, why=stop.why)
                await self.nomad.stop(stop.nomad_job_id)
        for dispatch in plan.dispatches:
            await self._dispatch(dispatch)

    async def _dispatch(self, dispatch: Dispatch) -> None:
        row = CATALOGUE[dispatch.executor_class]
        members = sorted(self.view.state.members.values(), key=lambda member: member.hotkey)
        if not members:
            return  # nobody could take it in; our own membership is about to be seen
        meta = {
            "horde": self.horde,
            "miners": ",".join(member.address for member in members[:8]),
            "index": str(dispatch.index),
            "generation": str(dispatch.generation),
        }
        try:
            await self.jobs.ensure(row)
            name = f"{self.horde}-{dispatch.index}"
            child = await self.nomad.dispatch(parent_id(row), dispatch.token(self.horde), meta, name)
        except ServerRefused as error:
            if self.refusals.get(row.name) != str(error):
                _log.error("Nomad refuses the holders of a class", executor_class=row.name, why=str(error))
            self.refusals[row.name] = str(error)
        else:
            self.refusals.pop(row.name, None)
            _log.info("holder dispatched", nomad_job=child.job_id, executor_class=row.name)

    async def _correct(self, picture: Picture, fence: Held) -> None:
        ended = [holder for holder in picture.holders if MEANINGS[holder.standing].ended]
        for correction in corrections(self.view.state.slots, picture.kept(CATALOGUE), ended):
            _log.info("slot record corrected", slot=correction.slot_id, why=correction.drift)
            await self._write(correction, fence)

    async def _write(self, correction: Correction, fence: Held) -> None:
        key = self.view.keys.slot(correction.slot_id)
        index = self.view.state.indices.get(key, 0)
        change: Change = Put(key, as_json(correction.slot), index) if correction.slot else Delete(key, index)
        await self.view.coordination.commit([fence, change])  # a conflict is looked at anew after the change

    def _off_draining_nodes(self, picture: Picture) -> list[Stop]:
        draining = picture.draining_nodes()
        return [
            Stop(holder.nomad_job_id, f"node {holder.node} is drained")
            for holder in picture.holders
            if holder.node in draining and not MEANINGS[holder.standing].ended
        ]

    def _is_leased(self, nomad_job_id: str, picture: Picture) -> bool:
        """Whether a job runs on it: then it is ended after the job."""
        by_allocation = {slot.allocation_id: slot for slot in self.view.state.slots.values()}
        holder = next(holder for holder in picture.holders if holder.nomad_job_id == nomad_job_id)
        slot = by_allocation.get(holder.allocation_id) if holder.allocation_id else None
        return slot is not None and slot.state is SlotState.LEASED

    def _report_shortages(self, picture: Picture) -> None:
        found = _counted(holder for holder in picture.holders if holder.standing is Standing.SHORT)
        for name, count in found.items():
            if self.shortages.get(name) != count:
                _log.warning("holders wait for a free device", executor_class=name, waiting=count)
        self.shortages = found


def _counted(holders: Iterable[Holder]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for holder in holders:
        counts[holder.executor_class] = counts.get(holder.executor_class, 0) + 1
    return counts
