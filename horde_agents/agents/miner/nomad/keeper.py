"""Keeps the number of holders right while this miner is the keeper, and the slots' records true to Nomad."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from horde_agents.agents.miner.nomad.holder_jobs import HolderJobs
from horde_agents.agents.miner.nomad.picture import Picture, parent_id, take_picture, wanted_counts
from horde_agents.agents.miner.nomad.setbacks import Setbacks
from horde_agents.agents.miner.placed.view import PlacementView
from horde_agents.agents.miner.placed.writes import commit_each
from horde_agents.clients.cluster_http import ServerAway, ServerDenied, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.placement.coordination import CoordinationAway, CoordinationDenied, Delete, Held, Put
from horde_agents.placement.holders import ALL, Dispatch, KeepingPlan, Stop, keeping_plan
from horde_agents.placement.records import PoolReport, SlotState, as_json
from horde_agents.placement.register import Correction, corrections
from horde_agents.placement.standings import MEANINGS, Standing
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: Seconds between two looks when nothing is heard.
_LOOK_S: Final = 15.0
#: Seconds in which many events become one look.
_GATHER_S: Final = 0.1
_RETRY_S: Final = 2.0
#: Nomad's words of a parameterized job that somebody has stopped.
_STOPPED: Final = "is stopped"
#: Dispatches under way at once: one alone would wait for each answer of Nomad's twice.
_AT_ONCE: Final = 8
_log = get_logger(__name__)


@dataclass(slots=True)
class Keeper:
    """``shortages`` says, by class, why Nomad has no place for holders; ``refusals`` why it takes none."""

    nomad: Nomad
    view: PlacementView
    jobs: HolderJobs
    horde: str
    node_pool: str
    configured: Mapping[str, int]
    shortages: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    trouble: str | None = None
    _setbacks: Setbacks = field(default_factory=Setbacks)
    _next_look_s: float = _LOOK_S
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
        await asyncio.wait(waiting, timeout=self._next_look_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.sleep(_GATHER_S)
        self._news.clear()
        changed.clear()

    async def _try_look(self, fence: Held) -> None:
        try:
            await self._look(fence)
            self.trouble = None
        except* (ServerAway, ServerDenied, ServerRefused, CoordinationAway, CoordinationDenied) as errors:
            why = str(errors.exceptions[0])  # of several dispatches at once
            if self.trouble is None:
                _log.warning("holders are not kept now", why=why)
            self.trouble = why
            await asyncio.sleep(_RETRY_S)

    async def _look(self, fence: Held) -> None:
        picture = await take_picture(self.nomad, self.horde, self.node_pool, CATALOGUE)
        wishes = {name: wish.holders for name, wish in self.view.state.pool_wishes.items()}
        wanted = wanted_counts(self.configured, wishes, picture.nodes, CATALOGUE, picture.holders)
        plan = keeping_plan(wanted, picture.holders)
        await self._correct(picture, self._leaving(plan, picture), fence)
        await self._perform(plan, picture)
        await self._note_shortages(picture, wanted)
        await self._report(picture, wanted, fence)

    async def _perform(self, plan: KeepingPlan, picture: Picture) -> None:
        for stop in self._stops(plan, picture):
            if stop.nomad_job_id in picture.told:
                continue  # each stop is an evaluation, whose event makes the next look
            if not self._may_serve(stop.nomad_job_id, picture):
                _log.info("stopping a holder", nomad_job=stop.nomad_job_id, why=stop.why)
                await self.nomad.stop(stop.nomad_job_id)
        for holder in self._setbacks.note(picture.holders, monotonic_s()):
            _log.warning("holder failed", nomad_job=holder.nomad_job_id, node=holder.node)
        due = self._setbacks.due(plan.dispatches, monotonic_s())
        self._next_look_s = self._setbacks.next_due_s(plan.dispatches, monotonic_s(), _LOOK_S)
        for start in range(0, len(due), _AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for dispatch in due[start : start + _AT_ONCE]:
                    group.create_task(self._dispatch(dispatch))

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
            if _STOPPED not in str(error):  # what an operator has stopped is for the operator to start
                self.jobs.forget(row)
        else:
            self.refusals.pop(row.name, None)
            _log.info("holder dispatched", nomad_job=child.job_id, executor_class=row.name)

    def _leaving(self, plan: KeepingPlan, picture: Picture) -> dict[str, str]:
        """Why holders are to end, by allocation."""
        stops = {stop.nomad_job_id: stop.why for stop in self._stops(plan, picture)}
        return {
            holder.allocation_id: stops[holder.nomad_job_id]
            for holder in picture.holders
            if holder.nomad_job_id in stops
        }

    async def _correct(self, picture: Picture, leaving: Mapping[str, str], fence: Held) -> None:
        ended = [holder for holder in picture.holders if MEANINGS[holder.standing].ended]
        found = corrections(self.view.state.slots, picture.kept(CATALOGUE), ended, leaving)
        for correction in found:
            _log.info("slot record corrected", slot=correction.slot_id, why=correction.drift)
        changes = [self._change(correction) for correction in found]
        await commit_each(self.view.coordination, changes, fence)  # what conflicts is looked at anew

    def _change(self, correction: Correction) -> Put | Delete:
        key = self.view.keys.slot(correction.slot_id)
        index = self.view.state.indices.get(key, 0)
        return Put(key, as_json(correction.slot), index) if correction.slot else Delete(key, index)

    def _stops(self, plan: KeepingPlan, picture: Picture) -> list[Stop]:
        strays = [Stop(nomad_job_id, "its meta names no place") for nomad_job_id in picture.strays]
        return [*plan.stops, *self._off_draining_nodes(picture), *strays]

    def _off_draining_nodes(self, picture: Picture) -> list[Stop]:
        draining = picture.draining_nodes()
        return [
            Stop(holder.nomad_job_id, f"node {holder.node} is drained")
            for holder in picture.holders
            if holder.node in draining and not MEANINGS[holder.standing].ended
        ]

    def _may_serve(self, nomad_job_id: str, picture: Picture) -> bool:
        """Whether a job runs on it, or may still come: then it is ended when its slot's record says no."""
        by_allocation = {slot.allocation_id: slot for slot in self.view.state.slots.values()}
        holder = next((each for each in picture.holders if each.nomad_job_id == nomad_job_id), None)
        slot = by_allocation.get(holder.allocation_id) if holder and holder.allocation_id else None
        return slot is not None and (slot.state is SlotState.LEASED or not slot.leaving)

    async def _note_shortages(self, picture: Picture, wanted: Mapping[str, int]) -> None:
        found: dict[str, str] = {}
        for holder in picture.holders:
            if holder.standing is Standing.SHORT and holder.executor_class not in found:
                why = await self.nomad.why_blocked(holder.nomad_job_id)
                found[holder.executor_class] = why or MEANINGS[holder.standing].says
        for name, count in self.configured.items():
            if count == ALL and wanted[name] == 0 and name not in self.view.state.pool_wishes:
                found[name] = "no node has a device for it"
        for name, why in found.items():
            if self.shortages.get(name) != why:
                _log.warning("Nomad has no place for holders of a class", executor_class=name, why=why)
        self.shortages = found

    async def _report(self, picture: Picture, wanted: Mapping[str, int], fence: Held) -> None:
        """Tell operators by the shared store what this keeper sees."""
        known = self.view.state.pool_reports
        for name, count in wanted.items():
            living = [
                holder
                for holder in picture.holders
                if holder.executor_class == name and not MEANINGS[holder.standing].ended
            ]
            running = sum(MEANINGS[holder.standing].keeps_slot for holder in living)
            says = self.refusals.get(name) or self.shortages.get(name, "")
            report = PoolReport(count, running, len(living) - running, says)
            if known.get(name) != report:
                key = self.view.keys.report(name)
                await self.view.coordination.commit([fence, Put(key, as_json(report), None)])
