"""The miner's open attempts: each joins one validator's connection to one executor and survives both."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.miner.parts import MinerParts
from horde_agents.agents.miner.reactions import FreeSlot, StoreBehind, StoreNow, TellValidator, react
from horde_agents.agents.miner.slots import ExecutorLink
from horde_agents.agents.miner.volley import Volley
from horde_agents.jobs.budget import STARTUP_S
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.jobs.events import Accepted, ExecutorReady, HordeFailed, JobEvent
from horde_agents.jobs.faults import Cause, HordeFaultReason
from horde_agents.jobs.lifecycle import Job, Moved, NotAuthorised, advance
from horde_agents.jobs.states import Role
from horde_agents.protocol.attempt_reports import report_of
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.frames import render
from horde_agents.protocol.job_frames import HordeCancelJob, V0InitialJobRequest, V0JobRequest, limits_of
from horde_agents.protocol.miner_executor import HordeAck
from horde_agents.protocol.validator_miner import HordeProgress, V0AcceptJobRequest
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted
from horde_agents.runtime import clock
from horde_agents.runtime.logs import get_logger
from horde_agents.store import attempts as stored
from horde_agents.store import stories
from horde_agents.store.attempts import StoredAttempt
from horde_agents.store.writer import Unit

#: Seconds beyond an attempt's whole budget before the miner ends it by itself.
_GRACE_S: Final = 30.0
#: Seconds the validator may take to send its job request once the executor is ready.
_REQUEST_S: Final = 60.0
#: Seconds between two looks for attempts that nobody ends.
_SWEEP_S: Final = 30.0
_US_PER_S: Final = 1_000_000
_log = get_logger(__name__)


class ValidatorSession(Protocol):
    """One authenticated connection of a validator."""

    validator_hotkey: str

    @property
    def extensions(self) -> frozenset[Extension]:
        """What the peer understands beyond the wire."""

    async def send(self, text: str) -> None:
        """Hand a frame over; a connection that broke meanwhile says nothing."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt at this miner; ``told`` is everything its validator has been or must be told.

    ``ready_at`` is when its executor said that it is ready.
    """

    uuid: str
    validator_hotkey: str
    slot_id: str
    job: Job
    is_organic: bool = True
    told: list[str] = field(default_factory=list)
    session: ValidatorSession | None = None
    executor: ExecutorLink | None = None
    to_executor: list[str] = field(default_factory=list)
    ready_at: datetime | None = None
    executor_back: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Attempts:
    """All attempts that are open, or whose end the validator may still ask for."""

    parts: MinerParts
    _open: dict[str, Attempt] = field(default_factory=dict)
    _volley: Volley = field(init=False)

    def __post_init__(self) -> None:
        self._volley = Volley(self.parts.supervisor.spawn)

    def find(self, uuid: str) -> Attempt | None:
        """An attempt that is open here."""
        return self._open.get(uuid)

    def is_open(self, uuid: str) -> bool:
        """Whether an attempt is not over yet."""
        return uuid in self._open

    def all_open(self) -> list[Attempt]:
        """Those that are not over yet."""
        return list(self._open.values())

    def has_executor(self, uuid: str) -> bool:
        """Whether an executor is connected that has come, or come back, for an attempt."""
        attempt = self._open.get(uuid)
        return attempt is not None and attempt.executor is not None and attempt.executor_back.is_set()

    def without_executor(self) -> list[Attempt]:
        """The open attempts whose executor's link is broken."""
        return [attempt for attempt in self._open.values() if attempt.executor is None]

    async def failed(self, uuid: str, event: HordeFailed) -> None:
        """End an attempt, if it is open."""
        if (attempt := self._open.get(uuid)) is not None:
            await self.happened(attempt, event)

    def of_validator(self, validator_hotkey: str) -> list[Attempt]:
        """The open attempts of a validator."""
        return [attempt for attempt in self._open.values() if attempt.validator_hotkey == validator_hotkey]

    async def accept(
        self,
        offer: V0InitialJobRequest,
        started: Receipt | None,
        session: ValidatorSession,
        link: ExecutorLink,
    ) -> None:
        """Lease ``link``'s slot to the offer: stored first, then accepted, then handed to the executor."""
        uuid, hotkey, at = offer.job_uuid, session.validator_hotkey, clock.now()
        budget_s = _whole_budget_s(offer)
        until = at + timedelta(seconds=budget_s)
        own, kind = self.parts.signer.hotkey, offer.executor_class
        row = StoredAttempt(uuid, uuid, own, hotkey, kind, link.slot_id, at, until)
        accepted = Accepted(Role.MINER)

        async def store(connection: AsyncConnection) -> None:
            await stored.add(connection, row)
            await stored.lease(connection, uuid, link.slot_id, at)
            await stored.record(connection, uuid, accepted, at)
            if started is not None:
                await self.parts.book.file(connection, started)

        attempt = Attempt(uuid, hotkey, link.slot_id, Job(uuid), session=session, executor=link)
        attempt.is_organic = not (
            started is not None and isinstance(started.payload, JobStarted) and not started.payload.is_organic
        )
        attempt.job = _moved(attempt.job, accepted)
        attempt.told.append(render(V0AcceptJobRequest(job_uuid=uuid)))
        self._open[uuid] = attempt
        try:
            await self.parts.store.writer.run(store)
        except BaseException:
            del self._open[uuid]
            raise
        if started is not None:
            self.parts.book.filed(started)
        _log.info("attempt accepted", job=uuid, peer=hotkey, slot=attempt.slot_id)
        self.parts.lease_changed(attempt.slot_id, uuid)
        self.parts.shares.began(uuid, hotkey, kind, at)
        await session.send(attempt.told[0])
        await self._to_executor(attempt, render(offer))
        self.parts.supervisor.spawn(f"deadline {uuid}", self._end_late(attempt, budget_s))

    async def join(self, attempt: Attempt, session: ValidatorSession) -> None:
        """Give a validator's new connection everything about its attempt, and what comes from now on."""
        async with attempt.turn:
            attempt.session = session
            for text in attempt.told:
                await session.send(text)

    def leave(self, session: ValidatorSession) -> None:
        """A connection is gone; its attempts go on."""
        for attempt in self._open.values():
            if attempt.session is session:
                attempt.session = None

    async def request(self, attempt: Attempt, request: V0JobRequest) -> None:
        """Hand the validator's job request to the executor, which takes the first and ignores others."""
        text = render(request)
        if attempt.is_organic:
            await self._to_executor(attempt, text)
        else:
            self._volley.add(partial(self._to_executor, attempt, text))

    async def cancel(self, attempt: Attempt, message: str) -> None:
        """Ask the executor to end the attempt; its report ends it here."""
        await self._to_executor(attempt, render(HordeCancelJob(job_uuid=attempt.uuid, message=message)))

    async def executor_came_back(self, attempt: Attempt, link: ExecutorLink) -> None:
        """An executor reconnected in the middle of its job."""
        attempt.executor = link
        attempt.executor_back.set()
        for text in attempt.to_executor:
            await link.send(text)

    async def slot_is_idle(self, slot_id: str) -> None:
        """An executor without a job came on a slot: what is open there was another's, which has ended."""
        for attempt in [each for each in self._open.values() if each.slot_id == slot_id]:
            message = "The executor ended without a report; its slot has a new one."
            await self.happened(attempt, _disconnected(message))

    def executor_gone(self, link: ExecutorLink) -> None:
        """An executor's link broke: its attempt waits for it, then ends."""
        for attempt in self._open.values():
            if attempt.executor is link:
                attempt.executor = None
                attempt.executor_back.clear()
                self.parts.supervisor.spawn(f"grace {attempt.uuid}", self._end_without_executor(attempt))

    async def happened(self, attempt: Attempt, event: JobEvent) -> None:
        """Apply what the executor, or the miner itself, reports."""
        async with attempt.turn:
            try:
                step = advance(attempt.job, event)
            except NotAuthorised as error:
                _log.warning("report refused", job=attempt.uuid, why=str(error))
                return
            if not isinstance(step, Moved):
                _log.info("report ignored", job=attempt.uuid, why=step.why)
                return
            if isinstance(event, ExecutorReady):
                attempt.ready_at = clock.now()
            for effect in react(step, event):
                match effect:
                    case StoreNow():
                        event = await self.parts.store.writer.run(_ending(attempt.uuid, event))
                        # not before: an end that was not stored has to be taken when it is told again
                        attempt.job = _moved(attempt.job, event)
                    case StoreBehind():
                        attempt.job = step.job
                        self.parts.store.writer.behind(_recording(attempt.uuid, event))
                    case FreeSlot():
                        await self._free(attempt)
                    case TellValidator():
                        await self._tell(attempt, event)
            if attempt.job.state.is_final:
                state = attempt.job.state.value
                _log.info("attempt over", job=attempt.uuid, peer=attempt.validator_hotkey, state=state)
                self.parts.metrics.attempts.labels(outcome=state).inc()

    async def alive(self, attempt: Attempt) -> None:
        """The executor's heartbeat: a validator that keeps progress receipts hears of it."""
        session = attempt.session
        if session is None or attempt.ready_at is None or Extension.PROGRESS not in session.extensions:
            return
        run_us = round((clock.now() - attempt.ready_at).total_seconds() * _US_PER_S)
        await session.send(render(HordeProgress(job_uuid=attempt.uuid, run_us=max(run_us, 0))))

    async def ended_before(self, uuid: str, validator_hotkey: str) -> list[str] | None:
        """What a validator must be told about an attempt that ended here earlier; ``None`` when unknown."""

        async def read(connection: AsyncConnection) -> list[str] | None:
            row = await stored.load(connection, uuid)
            if row is None or row.validator_hotkey != validator_hotkey:
                return None
            return _frames(uuid, [entry.event for entry in await stories.told(connection, uuid)])

        # every offer asks: with the writes, hundreds that come at once share one transaction
        return await self.parts.store.writer.run(read)

    async def resume(self, *, executors_may_return: bool) -> None:
        """On start: end what no executor can finish any more, wait for those that may return."""
        async with self.parts.store.reading() as connection:
            rows = await stored.unfinished(connection)
            histories = {row.uuid: await stories.told(connection, row.uuid) for row in rows}
        for row in rows:
            told = histories[row.uuid]
            events = [entry.event for entry in told]
            attempt = Attempt(row.uuid, row.validator_hotkey, row.slot_id, Job(row.uuid, row.state))
            attempt.told = _frames(row.uuid, events)
            attempt.ready_at = next((one.at for one in told if isinstance(one.event, ExecutorReady)), None)
            self._open[row.uuid] = attempt
            if executors_may_return:
                self.parts.slots.occupy(row.slot_id)
                self.parts.supervisor.spawn(f"grace {row.uuid}", self._end_without_executor(attempt))
            else:
                await self.happened(attempt, _restarted())
        if rows:
            _log.warning("attempts found open at start", count=len(rows))

    async def sweep(self) -> None:
        """Keep ending attempts that nobody else will.

        Some are open in the store alone: a standby took over that had not got the end of them. Others were
        taken up after a restart, and their executor is there and says nothing.
        """
        while True:
            await asyncio.sleep(_SWEEP_S)
            async with self.parts.store.reading() as connection:
                rows = await stored.unfinished(connection)
            for row in rows:
                if (attempt := self._open.get(row.uuid)) is None:
                    _log.warning("attempt ended that nobody had in hand", job=row.uuid, slot=row.slot_id)
                    await self.parts.store.writer.run(_ending(row.uuid, _forgotten()))
                elif row.deadline_at < clock.now():
                    await self._expire(attempt, (row.deadline_at - row.created_at).total_seconds())

    async def all_over(self) -> None:
        """Wait until no attempt is open."""
        for attempt in list(self._open.values()):
            await attempt.over.wait()

    async def _tell(self, attempt: Attempt, event: JobEvent) -> None:
        report = report_of(event, attempt.uuid)
        if report is None:
            return
        attempt.told.append(render(report))
        if attempt.session is not None:
            await attempt.session.send(attempt.told[-1])

    async def _to_executor(self, attempt: Attempt, text: str) -> None:
        attempt.to_executor.append(text)
        if attempt.executor is not None:
            await attempt.executor.send(text)

    async def _free(self, attempt: Attempt) -> None:
        if attempt.executor is not None:
            await attempt.executor.send(render(HordeAck(job_uuid=attempt.uuid)))
        self.parts.slots.release(attempt.slot_id)
        self.parts.lease_changed(attempt.slot_id, "")
        self.parts.shares.ended(attempt.uuid, clock.now())
        self._open.pop(attempt.uuid, None)
        attempt.over.set()

    async def _end_late(self, attempt: Attempt, budget_s: float) -> None:
        try:
            async with asyncio.timeout(budget_s):
                await attempt.over.wait()
        except TimeoutError:
            await self._expire(attempt, budget_s)

    async def _expire(self, attempt: Attempt, budget_s: float) -> None:
        await self.cancel(attempt, "the attempt's whole budget has passed")
        await self.happened(
            attempt,
            HordeFailed(
                Role.MINER,
                HordeFaultReason.UNHANDLED_TIMEOUT,
                f"No final report within {budget_s:.0f} s.",
                {"cause": Cause.DEADLINE_PASSED},
            ),
        )

    async def _end_without_executor(self, attempt: Attempt) -> None:
        grace_s = self.parts.settings.reconnect_grace_s
        try:
            async with asyncio.timeout(grace_s):
                await attempt.executor_back.wait()
        except TimeoutError:
            message = f"The executor was away for {grace_s:g} s."
            await self.happened(attempt, _disconnected(message))


def _whole_budget_s(offer: V0InitialJobRequest) -> float:
    """Seconds after which the miner ends an attempt by itself."""
    spin_up_s = CATALOGUE[offer.executor_class].spin_up_s
    return spin_up_s + STARTUP_S + _REQUEST_S + limits_of(offer).running_s + _GRACE_S


def _recording(uuid: str, event: JobEvent) -> Unit[None]:
    at = clock.now()

    async def record(connection: AsyncConnection) -> None:
        await stored.record(connection, uuid, event, at)

    return record


def _ending(uuid: str, event: JobEvent) -> Unit[JobEvent]:
    """Stores the end that ``event`` is, and returns the one that the database has.

    That is another where an earlier end was committed and the database was gone before it could say so.
    """
    at = clock.now()

    async def end(connection: AsyncConnection) -> JobEvent:
        recorded = await stored.record(connection, uuid, event, at)
        await stored.end_lease(connection, uuid, at)
        if isinstance(recorded, Job):
            return event
        return (await stories.told(connection, uuid))[-1].event

    return end


def _moved(job: Job, event: JobEvent) -> Job:
    step = advance(job, event)
    assert isinstance(step, Moved)
    return step.job


def _frames(uuid: str, events: list[JobEvent]) -> list[str]:
    frames = []
    for event in events:
        if isinstance(event, Accepted):
            frames.append(render(V0AcceptJobRequest(job_uuid=uuid)))
        elif (report := report_of(event, uuid)) is not None:
            frames.append(render(report))
    return frames


def _disconnected(message: str) -> HordeFailed:
    return HordeFailed(Role.MINER, HordeFaultReason.EXECUTOR_DISCONNECTED, message)


def _restarted() -> HordeFailed:
    return HordeFailed(
        Role.MINER,
        HordeFaultReason.EXECUTOR_DISCONNECTED,
        "The miner was restarted and its executors ended with it.",
        {"cause": Cause.AGENT_RESTARTED},
    )


def _forgotten() -> HordeFailed:
    return HordeFailed(
        Role.MINER,
        HordeFaultReason.EXECUTOR_DISCONNECTED,
        "Its end was lost with the database that had it.",
        {"cause": Cause.AGENT_RESTARTED},
    )
