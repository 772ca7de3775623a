"""Executors of classes that are not kept warm: a seat is offered like a slot, its holder started for one job.

A seat is one attempt that this miner may have open in a class. Taking it dispatches a holder; one that
Nomad has no place for is taken back at once, and the offer declined.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from horde_agents.agents.miner.admission import Badge, Hold, Refuse, Serve, Verdict
from horde_agents.agents.miner.nomad.holder_jobs import HolderJobs
from horde_agents.agents.miner.nomad.picture import PREFIX, facts_of, parent_id
from horde_agents.clients.cluster_http import ServerAway, ServerDenied, ServerRefused
from horde_agents.clients.nomad import Allocation, Child, Nomad
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.states import Role
from horde_agents.placement.standings import MEANINGS, Standing, child_standing
from horde_agents.protocol.miner_executor import HordeExecutorHello
from horde_agents.runtime.logs import get_logger

#: Seconds in which Nomad has to say that it has a place; the answer to an offer must come within one.
_PLACE_S: Final = 0.6
_POLL_S: Final = 0.05
#: Seconds between two looks at the holder of an attempt; its own reports come over its link.
_LOOK_S: Final = 2.0
_log = get_logger(__name__)


class OpenAttempts(Protocol):
    """The attempts, as far as their holders concern them."""

    async def failed(self, uuid: str, event: HordeFailed) -> None:
        """End an attempt, if it is open."""

    def is_open(self, uuid: str) -> bool:
        """Whether an attempt is not over yet."""


@dataclass(slots=True, eq=False)
class Seat:
    """An idle executor that does not exist yet, as ``slots.ExecutorLink`` wants it."""

    slot_id: str
    executor_class: str
    start: "Callable[[str, str], Awaitable[str | None]]" = field(repr=False)

    @property
    def is_live(self) -> bool:
        """A holder can always be started for it."""
        return True

    async def ready_for(self, job_uuid: str) -> str | None:
        """Start a holder for the attempt; why there can be none, or ``None``."""
        return await self.start(self.executor_class, job_uuid)

    async def send(self, text: str) -> None:
        """The attempt keeps what it sends, and repeats it to the executor when that has come."""


@dataclass(slots=True)
class OnDemandHolders:
    """The holders that this miner has started, by attempt."""

    nomad: Nomad
    jobs: HolderJobs
    horde: str
    attempts: OpenAttempts
    _address: str = ""
    _spawn: Callable[[str, Awaitable[None]], None] | None = None
    _children: dict[str, Child] = field(default_factory=dict)

    def open(self, miner_address: str, spawn: Callable[[str, Awaitable[None]], None]) -> None:
        """Start holders from now on: they come to ``miner_address``; ``spawn`` runs what watches them."""
        self._address, self._spawn = miner_address, spawn

    def seats(self, counts: Mapping[str, int]) -> list[Seat]:
        """As many seats of each class as ``counts`` says."""
        return [
            Seat(f"on-demand:{CATALOGUE[name].short_code}-{number}", name, self.start)
            for name, count in sorted(counts.items())
            for number in range(count)
        ]

    async def start(self, executor_class: str, job_uuid: str) -> str | None:
        """Dispatch a holder for the attempt; why there is no place for it, or ``None``."""
        row = CATALOGUE[executor_class]
        meta = {
            "horde": self.horde,
            "miners": self._address,
            "index": "0",
            "generation": "0",
            "attempt": job_uuid,
        }
        try:
            await self.jobs.ensure(row)
            child = await self.nomad.dispatch(
                parent_id(row), f"{self.horde}/attempt/{job_uuid}", meta, job_uuid
            )
            why = await self._why_no_place(child)
        except (ServerAway, ServerDenied, ServerRefused) as error:
            self.jobs.forget(row)
            _log.warning("no holder for an attempt", job=job_uuid, why=str(error))
            return f"Nomad starts no holder now: {error}"
        if why is not None:
            await self._stop(child)
            return why
        _log.info("holder dispatched", nomad_job=child.job_id, job=job_uuid)
        self._children[job_uuid] = child
        assert self._spawn is not None, "seats are offered only when it is open"
        self._spawn(f"holder of {job_uuid}", self._watch(job_uuid, child))
        return None

    async def verdict(self, badge: Badge, hello: HordeExecutorHello) -> Verdict:
        """Whether this executor is the one that was started for ``hello.meant_for``."""
        uuid = hello.meant_for or ""
        if not self.attempts.is_open(uuid):
            return Refuse(f"attempt {uuid:.64} is not open here; this holder is not needed any more")
        try:
            allocation = await self.nomad.allocation(badge.allocation_id)
        except (ServerAway, ServerDenied, ServerRefused) as error:
            return Hold(f"Nomad cannot be asked about allocation {badge.allocation_id}: {error}")
        if allocation is None or allocation.job_id != await self._child_id(uuid):
            return Refuse(f"allocation {badge.allocation_id} was not started for attempt {uuid:.64}")
        if sorted(hello.devices) != sorted(allocation.devices):
            given = ", ".join(allocation.devices) or "none"
            return Refuse(
                f"it reports devices {', '.join(hello.devices) or 'none':.300}; Nomad gave it {given}"
            )
        return Serve()

    async def _why_no_place(self, child: Child) -> str | None:
        deadline = asyncio.get_running_loop().time() + _PLACE_S
        while asyncio.get_running_loop().time() < deadline:
            standing, _ = await self._standing(child.job_id)
            if standing is Standing.SHORT:
                why = await self.nomad.why_blocked(child.job_id)
                return f"Nomad has no place for it: {why}" if why else MEANINGS[standing].says
            if standing is not Standing.QUEUED:
                return None
            await asyncio.sleep(_POLL_S)
        return None  # not evaluated yet: the watch sees it

    async def _watch(self, job_uuid: str, child: Child) -> None:
        """Tell the attempt when its holder can do nothing for it; end the holder with the attempt."""
        try:
            while self.attempts.is_open(job_uuid):
                await self._look(job_uuid, child)
                await asyncio.sleep(_LOOK_S)
        finally:
            self._children.pop(job_uuid, None)
            await self._stop(child)

    async def _look(self, job_uuid: str, child: Child) -> None:
        try:
            standing, allocation = await self._standing(child.job_id)
        except (ServerAway, ServerDenied, ServerRefused) as error:
            _log.info("holder not looked after now", job=job_uuid, why=str(error))
            return
        meaning = MEANINGS[standing]
        if meaning.fault is not None:
            node = f" on node {allocation.node_name}" if allocation else ""
            says = f"{meaning.says[:1].upper()}{meaning.says[1:]} ({child.job_id}{node})."
            await self.attempts.failed(job_uuid, HordeFailed(Role.MINER, meaning.fault, says))

    async def _standing(self, job_id: str) -> tuple[Standing, Allocation | None]:
        found = await self.nomad.allocations_of(job_id)
        newest = max(found, key=lambda row: row.created_at, default=None)
        job = await self.nomad.job(job_id)
        standing = child_standing(
            facts_of(newest) if newest else None,
            stopped=job is None or bool(job["Stop"]),
            dead=job is None or job["Status"] == "dead",
            blocked=newest is None and await self.nomad.why_blocked(job_id) is not None,
        )
        return standing, newest

    async def _child_id(self, job_uuid: str) -> str:
        if (child := self._children.get(job_uuid)) is not None:
            return child.job_id
        for child in await self.nomad.children(PREFIX):  # dispatched before this miner was restarted
            if child.meta.get("attempt") == job_uuid and child.meta.get("horde") == self.horde:
                return child.job_id
        return ""

    async def _stop(self, child: Child) -> None:
        try:
            await self.nomad.stop(child.job_id)
        except (ServerAway, ServerDenied, ServerRefused) as error:
            # an executor that was made for one attempt ends by itself when nobody gives it one
            _log.warning("holder not stopped", nomad_job=child.job_id, why=str(error))
