"""Brings every job to its end: routes it, tries miners in turn, cancels, resumes after a restart."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from horde_agents.agents.validator import offers, records
from horde_agents.agents.validator.attempt import Attempt
from horde_agents.agents.validator.finding import Finding
from horde_agents.agents.validator.miner_session import MinerSession
from horde_agents.agents.validator.news import tell
from horde_agents.agents.validator.parts import LiveJob, Parts
from horde_agents.agents.validator.progress import Progress
from horde_agents.agents.validator.reactions import Plan, is_busy
from horde_agents.agents.validator.routing import Miner, NoMiner
from horde_agents.agents.validator.waiting import RoomClosed
from horde_agents.jobs.events import Cancelled, Declined, ExecutorReady, Expired, HordeFailed, JobEvent
from horde_agents.jobs.faults import Cause, HordeFaultReason, RejectionReason
from horde_agents.jobs.lifecycle import Job, replay
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.signing import Hotkey
from horde_agents.receipts.payloads import JobStarted, ReceiptType
from horde_agents.runtime.clock import iso, monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.supervisor import Supervisor
from horde_agents.store import attempts, jobs, progress, receipts, stories
from horde_agents.store.attempts import StoredAttempt
from horde_agents.store.stories import Told

_SWEEP_S: Final = 60.0

_log = get_logger(__name__)


@dataclass(slots=True)
class _InHand:
    live: LiveJob
    session: MinerSession | None = None


@dataclass(slots=True)
class Dispatch:
    """The jobs this process works on; each has one task, owned by ``supervisor``.

    ``on_completed`` hears of every job that a miner completed.
    """

    parts: Parts
    supervisor: Supervisor
    finding: Finding
    on_completed: Callable[[LiveJob, Attempt], None] | None = None
    _in_hand: dict[str, _InHand] = field(default_factory=dict)
    _is_draining: bool = False

    def start(self, live: LiveJob, stored: StoredAttempt | None = None) -> None:
        """Work on a job that is stored as received, or go on with its ``stored`` open attempt.

        While draining nothing is begun: the job waits in the store for the next start.
        """
        if self._is_draining or live.uuid in self._in_hand:
            return
        in_hand = _InHand(live)
        self._in_hand[live.uuid] = in_hand
        self.supervisor.spawn(f"job {live.uuid}", self._work(in_hand, stored))

    @property
    def is_draining(self) -> bool:
        """Whether nothing more is begun."""
        return self._is_draining

    def drain(self) -> None:
        """Begin no more jobs; what arrives from now on is stored and waits for the next start."""
        self._is_draining = True
        self.parts.waiting.close()

    async def cancel(self, uuid: str, message: str) -> tuple[bool, str]:
        """Take a job back; whether it is being ended, and if not, why not."""
        in_hand = self._in_hand.get(uuid)
        if in_hand is None or in_hand.live.is_over:
            return False, f"Job {uuid} has ended, or this validator never had it."
        session = in_hand.session
        if in_hand.live.was_forwarded:
            if session is None or not await session.cancel():
                return False, "The miner that runs the job cannot be told to cancel it."
            return True, ""
        await self._end(in_hand.live, Cancelled(Role.VALIDATOR, message or "The job was cancelled."))
        self.parts.waiting.withdraw(uuid)
        if session is not None:
            await session.cancel()
        return True, ""

    async def resume(self) -> None:
        """Take up every job that an earlier process left without a final state."""
        async with self.parts.store.reading() as connection:
            stored = await jobs.unfinished(connection)
            going_on = await attempts.unfinished(connection)
        taken_up = [job for job in stored if job.tag != records.OWN or job.deadline_at < now()]
        # before a job that waits looks for a miner that is free
        self._note_occupied(going_on, frozenset(job.uuid for job in taken_up if job.deadline_at >= now()))
        for job in taken_up:
            await self._resume_one(job)

    async def sweep(self) -> None:
        """Keep ending jobs whose time is over although nobody here works on them."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            async with self.parts.store.reading() as connection:
                late = [job for job in await jobs.unfinished(connection) if job.deadline_at < now()]
            for job in late:
                if job.uuid not in self._in_hand:
                    await self._resume_one(job)

    def _note_occupied(self, going_on: Sequence[StoredAttempt], taken_up: frozenset[str]) -> None:
        """Count the attempts of these jobs as occupying their miners until each is taken up."""
        for attempt in going_on:
            left_s = math.ceil((attempt.deadline_at - now()).total_seconds())
            if attempt.job_uuid in taken_up and left_s > 0:
                key = offers.AttemptKey(attempt.uuid, Hotkey(attempt.miner_hotkey))
                self.parts.occupancy.note(_claim(key, attempt.executor_class, self.parts, now(), left_s))

    async def _resume_one(self, job: jobs.StoredJob) -> None:
        async with self.parts.store.reading() as connection:
            history = await records.history(connection, job.uuid)
            tries = await attempts.of_job(connection, job.uuid)
        request = V2JobRequest.model_validate_json(job.request_json)
        plan = offers.plan_of(request, self.parts.settings)
        live = LiveJob(request, plan, job.tag, job.created_at, replay(job.uuid, history))
        live.tried = {
            attempt.miner_hotkey
            for attempt in tries
            if not (live.may_wait and attempt.state is JobState.REJECTED)  # it was busy, and may be free now
        }
        _log.info("resuming", job=job.uuid, state=live.job.state, attempts=len(tries))
        open_tries = [attempt for attempt in tries if not attempt.state.is_final]
        if job.deadline_at < now():
            late = Expired(Role.VALIDATOR, "The validator was away past the job's deadline.")
            for attempt in open_tries:
                await self._close(live, attempt, late)
            await self._end(live, late)
        elif open_tries:
            live.turn_to(open_tries[-1].executor_class, self._plan_of)
            self.start(live, open_tries[-1])
        elif live.was_forwarded:
            await self._end(live, _restarted("The validator lost track of the job in a restart."))
        else:
            self.start(live)

    async def _work(self, in_hand: _InHand, stored: StoredAttempt | None) -> None:
        live = in_hand.live
        self.parts.metrics.open_jobs.inc()
        try:
            because = await self._go_on(in_hand, stored) if stored else None
            while not live.is_over:
                because = await self._next_try(in_hand, because)
        except RoomClosed:
            _log.info("job waits for the next start", job=live.uuid)
            return
        except Exception as error:  # noqa: BLE001  (the outermost frame of a job: it must end, whatever broke)
            _log.exception("job crashed", job=live.uuid)
            message = f"The validator broke down over this job: {type(error).__name__}."
            reason = HordeFaultReason.UNHANDLED_EXCEPTION
            await self._end(live, HordeFailed(Role.VALIDATOR, reason, message))
        finally:
            _log.info("job over", job=live.uuid, peer=live.source, state=live.job.state.value)
            self.parts.metrics.open_jobs.dec()
            del self._in_hand[live.uuid]

    async def _next_try(self, in_hand: _InHand, because: JobEvent | None) -> JobEvent | None:
        """One more miner, or the end; why yet another is needed, if one is."""
        live = in_hand.live
        chosen = await self.finding.find(live)
        if live.is_over:
            return None
        if isinstance(chosen, NoMiner):
            await self._end(live, nobody(chosen, because, now()))
            return None
        live.turn_to(chosen.executor_class, self._plan_of)
        live.tried.add(chosen.miner.hotkey)
        attempt = self._new_attempt(live, chosen.miner)
        return await self._run(in_hand, attempt)

    async def _go_on(self, in_hand: _InHand, stored: StoredAttempt) -> JobEvent | None:
        miner = self.parts.directory.find(stored.miner_hotkey)
        if miner is None:
            gone = _restarted(f"Miner {stored.miner_hotkey} is not known any more.")
            await self._close(in_hand.live, stored, gone)
            return gone
        return await self._run(in_hand, await self._restored(in_hand.live, stored, miner))

    async def _run(self, in_hand: _InHand, attempt: Attempt) -> JobEvent | None:
        session = MinerSession(self.parts, attempt)
        in_hand.session = session
        self.parts.attempts_in_hand.add(attempt.key.uuid)
        named = {"job": in_hand.live.uuid, "attempt": attempt.key.uuid, "peer": attempt.miner.hotkey}
        _log.info("attempt begins", **named)
        try:
            await session.run()
        finally:
            _log.info("attempt over", **named, state=attempt.record.state.value)
            in_hand.session = None
            self.parts.attempts_in_hand.discard(attempt.key.uuid)
            self.parts.occupancy.free(attempt.miner.hotkey, attempt.key.uuid)
            self.parts.waiting.capacity_changed()
        self._note_end(in_hand.live, attempt)
        if attempt.next_try is None and not in_hand.live.is_over:
            await self._end(in_hand.live, _restarted("The attempt ended without an end of the job."))
        return attempt.next_try.because if attempt.next_try else None

    def _note_end(self, live: LiveJob, attempt: Attempt) -> None:
        because = attempt.next_try.because if attempt.next_try else None
        if because is not None and is_busy(because) and live.may_wait:
            again_at_s = monotonic_s() + self.parts.settings.waiting_retry_s
            live.again_at_s[attempt.miner.hotkey] = again_at_s
        if attempt.record.state is JobState.COMPLETED and self.on_completed is not None:
            self.on_completed(live, attempt)

    def _plan_of(self, request: V2JobRequest) -> Plan:
        return offers.plan_of(request, self.parts.settings)

    def _new_attempt(self, live: LiveJob, miner: Miner) -> Attempt:
        key = offers.new_key(miner.hotkey)
        settings = self.parts.settings
        attempt = Attempt(self.parts, live, miner, key, Job(key.uuid), monotonic_s() + settings.connect_s)
        attempt.may_retry = live.may_wait or len(live.tried) < settings.max_attempts
        claim_s = round(settings.connect_s + settings.reservation_s)
        self.parts.occupancy.note(_claim(key, live.request.executor_class, self.parts, now(), claim_s))
        return attempt

    async def _restored(self, live: LiveJob, stored: StoredAttempt, miner: Miner) -> Attempt:
        async with self.parts.store.reading() as connection:
            told = await stories.told(connection, stored.uuid)
            signed = await receipts.of_job(connection, stored.uuid)
            proofs = await progress.of_job(connection, stored.uuid)
        for receipt in signed:
            self.parts.occupancy.note(receipt.payload)
        started = [r for r in signed if r.payload.receipt_type is ReceiptType.STARTED]
        left_s = (stored.deadline_at - now()).total_seconds()
        key = offers.AttemptKey(stored.uuid, miner.hotkey)
        record = replay(stored.uuid, [one.event for one in told])
        attempt = Attempt(self.parts, live, miner, key, record, monotonic_s() + max(left_s, 0.0))
        attempt.ran_from_s = _ready_at_s(told)
        attempt.progress = Progress.resumed(proofs, now())
        attempt.proven_us = max((proof.payload.run_us for proof in proofs), default=0)
        attempt.started = started[0] if started else None
        attempt.may_retry = len(live.tried) < self.parts.settings.max_attempts
        return attempt

    async def _close(self, live: LiveJob, stored: StoredAttempt, event: HordeFailed | Expired) -> None:
        """End an attempt with which nobody can go on; its finished receipt is kept for its miner."""
        miner = self.parts.directory.find(stored.miner_hotkey)
        attempt = await self._restored(live, stored, miner or Miner(Hotkey(stored.miner_hotkey), "", 0))
        await attempt.report(event)

    async def _end(self, live: LiveJob, event: JobEvent) -> None:
        """End the job by an event that belongs to no attempt."""
        change = records.Change(now(), live.source)
        live.take(event, change)
        if change.job is None:
            return
        row = self.parts.store.writer.queue(lambda connection: records.apply(connection, change))
        await row
        tell(self.parts, live, change, row)


def _ready_at_s(told: Sequence[Told]) -> float | None:
    """When the executor was ready, on this process's monotonic clock."""
    ready = next((one.at for one in told if isinstance(one.event, ExecutorReady)), None)
    return None if ready is None else monotonic_s() - (now() - ready).total_seconds()


def _claim(key: offers.AttemptKey, executor_class: str, parts: Parts, at: datetime, ttl_s: int) -> JobStarted:
    """Counts an attempt as occupying its miner until its started receipt is signed."""
    return JobStarted(
        job_uuid=key.uuid,
        miner_hotkey=key.miner_hotkey,
        validator_hotkey=parts.signer.hotkey,
        timestamp=at,
        executor_class=executor_class,
        is_organic=True,
        ttl=ttl_s,
    )


def nobody(none_left: NoMiner, because: JobEvent | None, at: datetime) -> JobEvent:
    """The job's end when nobody is left: the last miner's own, or that there was none at all."""
    estimate = _estimate(none_left.free_at, at)
    others = {"other_miners": none_left.why, **estimate}
    match because:
        case Declined():
            context = {**because.context, **others}
            return Declined(because.origin, because.reason, because.message, context)
        case HordeFailed():
            context = {**because.context, **others}
            return HordeFailed(because.origin, because.reason, because.message, context)
        case _:
            reason = RejectionReason.NO_MINER_FOR_JOB
            return Declined(Role.VALIDATOR, reason, none_left.sentence, {"miners": none_left.why, **estimate})


def _estimate(free_at: datetime | None, at: datetime) -> dict[str, str | int]:
    """When to come back: by then the first executor has been given back, if no job of another comes first."""
    if free_at is None:
        return {}
    return {"earliest_free_at": iso(free_at), "estimate_s": max(math.ceil((free_at - at).total_seconds()), 0)}


def _restarted(message: str) -> HordeFailed:
    context = {"cause": Cause.AGENT_RESTARTED.value}
    return HordeFailed(Role.VALIDATOR, HordeFaultReason.UNHANDLED_EXCEPTION, message, context)
