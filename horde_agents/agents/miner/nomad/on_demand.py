"""Executors of classes that are not kept warm: a seat is offered like a slot, its holder started for one job.

A seat is one attempt that this miner may have open in a class. Taking it dispatches a holder; one that
Nomad has no place for is taken back at once, and the offer declined.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from horde_agents.agents.miner.admission import Badge, Hold, Refuse, Serve, Verdict
from horde_agents.agents.miner.nomad.holder_jobs import HolderJobs
from horde_agents.agents.miner.nomad.picture import PREFIX, facts_of, parent_id
from horde_agents.clients.cluster_http import ServerAway, ServerDenied, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.clients.nomad_rows import Allocation, Child
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import Role
from horde_agents.placement.standings import MEANINGS, Standing, allocation_standing, child_standing
from horde_agents.protocol.miner_executor import HordeExecutorHello
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.supervisor import Spawn, Work

#: Seconds in which Nomad has to take a holder, and to say that it has a place for it: the answer to an offer
#: must come within one.
_ANSWER_S: Final = 0.8
_PLACE_S: Final = 0.6
_POLL_S: Final = 0.05
#: Seconds between two looks at the holder of an attempt; its own reports come over its link.
_LOOK_S: Final = 2.0
#: Seconds on top of the spin-up time after which an attempt whose executor has not come fails.
_LATE_S: Final = 10.0
#: Seconds between two searches for holders that nobody waits for.
_SWEEP_S: Final = 15.0
_log = get_logger(__name__)


class OpenAttempts(Protocol):
    """The attempts, as far as their holders concern them."""

    async def failed(self, uuid: str, event: HordeFailed) -> None:
        """End an attempt, if it is open."""

    def is_open(self, uuid: str) -> bool:
        """Whether an attempt is not over yet."""

    def has_executor(self, uuid: str) -> bool:
        """Whether an executor is connected that has come for an attempt."""


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
    _spawn: Spawn | None = None
    _children: dict[str, Child] = field(default_factory=dict)
    _starting: set[str] = field(default_factory=set)

    def open(self, miner_address: str, spawn: Spawn) -> None:
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
        self._starting.add(job_uuid)
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self.jobs.ensure(row)
                token = f"{self.horde}/attempt/{job_uuid}"
                child = await self.nomad.dispatch(parent_id(row), token, meta, job_uuid)
                why = await self._why_no_place(child)
        except TimeoutError:  # what was dispatched all the same, the next sweep finds
            return f"Nomad has not taken a holder within {_ANSWER_S} s"
        except (ServerAway, ServerDenied, ServerRefused) as error:
            self.jobs.forget(row)
            _log.warning("no holder for an attempt", job=job_uuid, why=str(error))
            return f"Nomad starts no holder now: {error}"
        finally:
            self._starting.discard(job_uuid)
        if why is not None:
            self._run(f"unplaced holder of {job_uuid}", self._stop(child, why))
            return why
        _log.info("holder dispatched", nomad_job=child.job_id, job=job_uuid)
        self._mind(job_uuid, child)
        return None

    async def prepare(self, classes: Iterable[str]) -> None:
        """Have the jobs of these classes registered, so that the first attempt need not wait for that."""
        for name in classes:
            try:
                await self.jobs.ensure(CATALOGUE[name])
            except (ServerAway, ServerDenied, ServerRefused) as error:
                _log.warning("holders of a class cannot be started now", executor_class=name, why=str(error))

    async def sweep(self, members: Callable[[], Iterable[str]]) -> None:
        """For ever: mind holders of a time before a restart, and end those for which nobody waits.

        ``members`` are the addresses of the miners that live.
        """
        while True:
            try:
                for child in await self.nomad.children(PREFIX):
                    if child.meta.get("horde") == self.horde and child.meta.get("attempt"):
                        await self._swept(child, members())
            except (ServerAway, ServerDenied, ServerRefused) as error:
                _log.info("holders without an attempt are not looked for now", why=str(error))
            await asyncio.sleep(_SWEEP_S)

    async def _swept(self, child: Child, members: Iterable[str]) -> None:
        uuid, address = child.meta["attempt"], child.meta.get("miners")
        if child.stopped or child.status == "dead" or uuid in self._starting or uuid in self._children:
            return
        if self.attempts.is_open(uuid):
            self._mind(uuid, child)
        elif address == self._address:
            await self._stop(child, "its attempt is over")
        elif child.waiting and address not in set(members):
            await self._stop(child, "its miner is gone")  # one that runs ends by itself when nobody wants it

    def _mind(self, job_uuid: str, child: Child) -> None:
        self._children[job_uuid] = child
        self._run(f"holder of {job_uuid}", self._watch(job_uuid, child))

    def _run(self, name: str, work: Work) -> None:
        assert self._spawn is not None, "seats are offered only when it is open"
        self._spawn(name, work)

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
        """Tell the attempt when its holder can do nothing for it; end the holder with the attempt.

        The holder goes on when only this miner ends.
        """
        late_s = asyncio.get_running_loop().time() + self._spin_up_s(child) + _LATE_S
        has_come = False
        try:
            while self.attempts.is_open(job_uuid):
                has_come = has_come or self.attempts.has_executor(job_uuid)
                is_late = not has_come and asyncio.get_running_loop().time() > late_s
                await self._look(job_uuid, child, is_late=is_late)
                await asyncio.sleep(_LOOK_S)
        finally:
            self._children.pop(job_uuid, None)
        await self._stop(child, "its attempt is over")

    def _spin_up_s(self, child: Child) -> int:
        return next((row.spin_up_s for row in CATALOGUE.values() if parent_id(row) == child.parent_id), 0)

    async def _look(self, job_uuid: str, child: Child, *, is_late: bool) -> None:
        try:
            standing, allocation = await self._standing(child.job_id)
        except (ServerAway, ServerDenied, ServerRefused) as error:
            _log.info("holder not looked after now", job=job_uuid, why=str(error))
            return
        if self.attempts.has_executor(job_uuid):
            return  # one that is connected is believed
        meaning = MEANINGS[standing]
        fault, says = meaning.fault, meaning.says
        if fault is None and meaning.ended:
            fault, says = HordeFaultReason.EXECUTOR_DISCONNECTED, "its holder ended without a report"
        elif fault is None and is_late:
            fault, says = HordeFaultReason.EXECUTOR_SPINUP_FAILED, "no executor has come in time"
        if fault is not None:
            node = f" on node {allocation.node_name}" if allocation else ""
            text = f"{says[:1].upper()}{says[1:]} ({child.job_id}{node})."
            await self.attempts.failed(job_uuid, HordeFailed(Role.MINER, fault, text))

    async def _standing(self, job_id: str) -> tuple[Standing, Allocation | None]:
        found = await self.nomad.allocations_of(job_id)
        if found:
            newest = max(found, key=lambda row: row.created_at)
            return allocation_standing(facts_of(newest)), newest
        job = await self.nomad.job(job_id)
        standing = child_standing(
            None,
            stopped=job is None or bool(job["Stop"]),
            dead=job is None or job["Status"] == "dead",
            blocked=await self.nomad.why_blocked(job_id) is not None,
        )
        return standing, None

    async def _child_id(self, job_uuid: str) -> str:
        if (child := self._children.get(job_uuid)) is not None:
            return child.job_id
        for child in await self.nomad.children(PREFIX):  # dispatched before this miner was restarted
            if child.meta.get("attempt") == job_uuid and child.meta.get("horde") == self.horde:
                return child.job_id
        return ""

    async def _stop(self, child: Child, why: str) -> None:
        try:
            await self.nomad.stop(child.job_id)
            _log.info("holder stopped", nomad_job=child.job_id, why=why)
        except (ServerAway, ServerDenied, ServerRefused) as error:
            # an executor that was made for one attempt ends by itself when nobody gives it one
            _log.warning("holder not stopped", nomad_job=child.job_id, why=str(error))
