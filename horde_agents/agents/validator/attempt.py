"""One try of a job at one miner: moves its record, performs the reactions, yields frames for the miner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, assert_never

from horde_agents.agents.validator import offers, records
from horde_agents.agents.validator.declines import BusyDecline, is_justified
from horde_agents.agents.validator.news import observed, tell
from horde_agents.agents.validator.offers import AttemptKey
from horde_agents.agents.validator.outcomes import organic_outcome
from horde_agents.agents.validator.parts import LiveJob, Parts
from horde_agents.agents.validator.progress import Progress
from horde_agents.agents.validator.reactions import (
    Blame,
    Effect,
    ExtendClock,
    Forward,
    SendPayload,
    SignReceipt,
    StartClock,
    Step,
    TryAnother,
    as_cancelled,
    incident_weight,
    is_busy,
    is_early,
    react,
    silence,
    why_impossible,
)
from horde_agents.agents.validator.routing import Miner
from horde_agents.agents.validator.to_miner import ToMiner, progress_frame, receipt_frame
from horde_agents.jobs.events import Cancelled, HordeFailed, JobEvent
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.lifecycle import Ignored, Job, advance
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY
from horde_agents.protocol.validator_miner import SignedReceipt
from horde_agents.receipts.ledger import Receipt, proven_us
from horde_agents.receipts.payloads import ReceiptType
from horde_agents.runtime.clock import monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.facts import MAX_RUN_US, Outcome, Work
from horde_agents.store import progress as progress_receipts
from horde_agents.store.attempts import StoredAttempt
from horde_agents.store.verdicts import Verdict

_US_PER_S: Final = 1_000_000
_log = get_logger(__name__)


@dataclass(slots=True)
class Attempt:
    """A live attempt, not yet offered as long as it has no started receipt.

    ``deadline_s``, ``ran_from_s`` and ``over_at_s`` are monotonic; ``next_try`` is set when another miner
    shall have the job; ``shown`` are the receipts that came with the last report, ``proven_us`` is what
    progress receipts prove of a job that was broken off. ``on_over`` is called as its last report is taken.
    """

    parts: Parts
    live: LiveJob
    miner: Miner
    key: AttemptKey
    record: Job
    deadline_s: float
    started: Receipt | None = None
    may_retry: bool = True
    was_cancelled: bool = False
    next_try: TryAnother | None = None
    ran_from_s: float | None = None
    over_at_s: float = 0.0
    proven_us: int = 0
    progress: Progress = field(default_factory=Progress)
    is_excused: bool = False
    shown: Sequence[SignedReceipt] = ()
    on_over: Callable[[], None] = lambda: None
    _moved_at_s: float = field(default_factory=monotonic_s)
    _early: dict[type[JobEvent], JobEvent] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """True when nothing more is expected of the miner."""
        return self.record.state.is_final

    @property
    def is_offered(self) -> bool:
        """True once the offer may have left this process, perhaps an earlier one."""
        return self.started is not None

    async def offer(self) -> str:
        """Store the attempt with its started receipt, and only then give the offer's frame."""
        at = now()
        settings, signer = self.parts.settings, self.parts.signer
        self.started = offers.started_receipt(
            self.key,
            self.live.request.executor_class,
            settings.reservation_s,
            signer,
            at,
            is_organic=self.live.is_organic,
        )
        self.parts.occupancy.note(self.started.payload)
        await self._store(self.started, at, at + timedelta(seconds=settings.reservation_s))
        self.deadline_s = monotonic_s() + settings.reservation_s
        return self.offer_again()

    def offer_again(self) -> str:
        """The offer's frame with the receipt as first signed."""
        if self.started is None:
            raise RuntimeError("an attempt is offered again only after it was offered")
        return offers.offer_frame(
            self.live.request, self.key, self.live.plan, self.started, self.parts.signer
        )

    def payload(self) -> str:
        """The frame that says what to run."""
        return offers.payload_frame(self.live.request, self.key, self.parts.signer)

    async def report(self, event: JobEvent, shown: Sequence[SignedReceipt] = ()) -> list[ToMiner]:
        """Take in what happened and return the frames that the miner gets for it."""
        frames: list[ToMiner] = []
        pending = [event]
        while pending:
            first = pending.pop(0)
            if is_early(self.record.state, first):
                self._early[type(first)] = first
                continue
            frames += await self._take(first, shown)
            pending += self._early.values()
            self._early.clear()
        return frames

    async def alive(self, claimed_us: int) -> list[ToMiner]:
        """The miner says that the job runs: sign what is proven of it, once an interval.

        The receipt is on disk before it is sent, so that a miner never has one which its validator forgot.
        """
        ran_us = self._ran_us(monotonic_s())
        if self.is_over or ran_us is None or not self._is_paid_by_time():
            return []
        proven = proven_us(claimed_us, ran_us, self._limit_us(), self.proven_us)
        if not self.progress.is_due(monotonic_s(), self.parts.progress_interval_s(), ran_us / _US_PER_S):
            return []
        receipt = self.progress.sign(self.key, proven, self.parts.signer, now())
        await self.parts.store.writer.run(
            lambda connection: progress_receipts.file(connection, receipt, receipt.payload.timestamp)
        )
        self.proven_us = proven
        return [progress_frame(receipt)]

    async def fail(self, reason: HordeFaultReason, message: str, **context: str) -> list[ToMiner]:
        """End the attempt with a fault that this validator noticed."""
        return await self.report(HordeFailed(Role.VALIDATOR, reason, message, dict(context)))

    async def fall_silent(self, trouble: str) -> list[ToMiner]:
        """End the attempt because the stage's time is over."""
        if self.was_cancelled:
            return await self.report(Cancelled(Role.VALIDATOR, "The job was cancelled."))
        state = self.record.state
        reason = silence(state, is_streaming=self.live.plan.is_streaming)
        message = f"Miner {self.miner.hotkey} let the time pass in which it had to go on from {state}."
        return await self.fail(reason, f"{message} {trouble}".strip())

    def cancel(self) -> None:
        """The user took the job back: a miner that has accepted gets a moment to confirm."""
        self.was_cancelled = True
        accepted = self.record.state is not JobState.SENT
        patience_s = self.parts.settings.cancel_grace_s if accepted else 0.0
        self.deadline_s = min(self.deadline_s, monotonic_s() + patience_s)

    async def _take(self, event: JobEvent, shown: Sequence[SignedReceipt]) -> list[ToMiner]:
        event = self._as_read(event)
        before = self.record.state
        moved = advance(self.record, event)
        if isinstance(moved, Ignored):
            _log.info("report changes nothing", job=self.live.uuid, attempt=self.key.uuid, why=moved.why)
            return []
        self.record = moved.job
        asked = self.live.is_organic and is_busy(event)
        excused = asked and await self._is_justified(event, shown)
        self.is_excused, self.shown = excused, shown
        step = Step(self.record, before, event, self.live.plan, self._may_retry(), excused)
        self._count(event)
        self._remember(excused=excused)
        return await self._perform(react(step))

    def _as_read(self, event: JobEvent) -> JobEvent:
        why = why_impossible(self.record.state, event)
        if why is not None:
            message = f"Miner {self.miner.hotkey} {why}."
            return HordeFailed(Role.VALIDATOR, HordeFaultReason.GENERIC_ERROR, message)
        return as_cancelled(event, was_asked=self.was_cancelled)

    async def _is_justified(self, event: JobEvent, shown: Sequence[SignedReceipt]) -> bool:
        offer = self.started.payload if self.started else None
        decline = BusyDecline(self.live, self.miner.hotkey, offer, event, shown)
        return await is_justified(self.parts, decline)

    def _may_retry(self) -> bool:
        waited_s = (now() - self.live.received_at).total_seconds()
        return (
            self.may_retry
            and not self.live.is_over
            and not self.was_cancelled
            and (waited_s < self.parts.settings.retry_window_s or self.live.may_wait)
        )

    async def _perform(self, effects: tuple[Effect, ...]) -> list[ToMiner]:
        change = records.Change(now(), self.live.source, self.record)
        frames: list[ToMiner] = []
        for effect in effects:
            match effect:
                case Forward():
                    self.live.take(effect.event, change)
                case TryAnother():
                    self.next_try = effect
                case SendPayload():
                    frames += self._payload_now()
                case StartClock() | ExtendClock():
                    self._set_clock(effect, change)
                case SignReceipt():
                    frames += self._sign(effect, change)
                case Blame() if self.live.is_organic:
                    change.pause = self._pause(effect)
                case Blame():
                    pass  # a batch judges its jobs by itself
                case _:
                    assert_never(effect)
        await self._keep(change)
        return frames

    def _payload_now(self) -> list[ToMiner]:
        """The payload, unless it waits for the others of its batch."""
        self.ran_from_s = monotonic_s()
        if self.live.gate is None:
            return [ToMiner(self.payload())]
        self.live.gate.hold(self.key.uuid, self.payload())
        return []

    def _set_clock(self, effect: StartClock | ExtendClock, change: records.Change) -> None:
        start_s = monotonic_s() if isinstance(effect, StartClock) else self.deadline_s
        if isinstance(effect, StartClock) and self.live.gate is not None:
            start_s = max(start_s, self.live.gate.fires_by_s)
        if not self.was_cancelled:
            self.deadline_s = start_s + effect.granted_s
        change.deadline_at = change.at + timedelta(seconds=self.deadline_s - monotonic_s())

    def _sign(self, effect: SignReceipt, change: records.Change) -> list[ToMiner]:
        if self.started is None:  # never offered: there is nothing to receipt
            return []
        signer, at = self.parts.signer, change.at
        if effect.receipt_type is ReceiptType.ACCEPTED:
            receipt = offers.accepted_receipt(self.key, effect.amount_s, signer, at)
        else:
            receipt = self._finished(effect.amount_s, at)
        self.parts.occupancy.note(receipt.payload)
        if self.miner.hotkey == TRUSTED_MINER_HOTKEY:  # it keeps none (wire note C.2.3)
            return []
        change.receipts.append(receipt)
        return [receipt_frame(receipt)]

    def _finished(self, value_s: int, at: datetime) -> Receipt:
        """The finished receipt: from when the job was sent, and how long it ran (wire note C.8.3).

        What the horde ended is worth its proven seconds: whole ones, as stock peers read integers only.
        """
        assert self.started is not None
        outcome, _ = organic_outcome(self.record.history[-1], is_excused=self.is_excused)
        if self.live.is_organic and outcome is Outcome.HORDE_ENDED:
            value_s = self.proven_us // _US_PER_S
        run_us = self._ran_us(monotonic_s())
        began = self.started.payload.timestamp if run_us is None else at - timedelta(microseconds=run_us)
        return offers.finished_receipt(self.key, value_s, began, self.parts.signer, at)

    def _pause(self, blame: Blame) -> records.Pause:
        settings = self.parts.settings
        if blame.is_fault:
            return records.Pause(
                self.miner.hotkey, blame.why, settings.incident_pause_s, settings.incident_pause_cap_s
            )
        return records.Pause(self.miner.hotkey, blame.why, settings.decline_pause_s, settings.decline_pause_s)

    async def _keep(self, change: records.Change) -> None:
        if self.is_over:
            self.over_at_s = monotonic_s()
            self.on_over()
            self.parts.occupancy.free(self.miner.hotkey, self.key.uuid)
            change.verdict = self._verdict(change.at)
        if self.is_over and not self.is_offered:
            await self._store(None, change.at, change.at)
        row = self.parts.store.writer.queue(lambda connection: records.apply(connection, change))
        if self.is_over:
            await row
        else:
            row.add_done_callback(observed)
        tell(self.parts, self.live, change, row)

    async def _store(self, started: Receipt | None, at: datetime, deadline_at: datetime) -> None:
        attempt = StoredAttempt(
            self.key.uuid,
            self.live.uuid,
            self.miner.hotkey,
            self.parts.signer.hotkey,
            self.live.request.executor_class,
            "",
            at,
            deadline_at,
        )
        await self.parts.store.writer.run(lambda connection: records.offer(connection, attempt, started))

    def _verdict(self, at: datetime) -> Verdict | None:
        """What the attempt scores, if it is a user's at a miner of the metagraph."""
        if not self.live.is_organic or self.miner.hotkey == TRUSTED_MINER_HOTKEY:
            return None
        outcome, why = organic_outcome(self.record.history[-1], is_excused=self.is_excused)
        work = Work(
            attempt_uuid=self.key.uuid,
            is_organic=True,
            batch_uuid="",
            miner_hotkey=self.miner.hotkey,
            executor_class=self.live.request.executor_class,
            user_hotkey=self.live.request.signature.signatory,
            outcome=outcome,
            run_us=self.proven_us if outcome is Outcome.HORDE_ENDED else self._run_us(),
            limit_us=self._limit_us(),
        )
        return Verdict(work, self.live.uuid, self.parts.cycle_number(), why, at)

    def _run_us(self) -> int:
        """How long the job ran by this validator's own clock, from its payload to its last report."""
        return self._ran_us(self.over_at_s) or 0

    def _ran_us(self, at_s: float) -> int | None:
        """The same up to ``at_s``; ``None`` while the job has not been sent."""
        if self.ran_from_s is None:
            return None
        return min(max(round((at_s - self.ran_from_s) * _US_PER_S), 0), MAX_RUN_US)

    def _limit_us(self) -> int:
        return min(self.live.plan.limits.value_s * _US_PER_S, MAX_RUN_US)

    def _is_paid_by_time(self) -> bool:
        return self.live.is_organic and self.miner.hotkey != TRUSTED_MINER_HOTKEY

    def _remember(self, *, excused: bool) -> None:
        """What the attempt says about its miner, for routing."""
        shares = self.parts.shares
        if self.record.state is JobState.ACCEPTED:
            shares.began(self.key.uuid, self.miner.hotkey, self.live.request.executor_class, now())
        if not self.is_over:
            return
        shares.ended(self.key.uuid, self.miner.hotkey, now())
        if not self.live.is_organic:
            return
        reliability, at_s, last = self.parts.reliability, now().timestamp(), self.record.history[-1]
        reliability.tried(self.miner.hotkey, at_s)
        reliability.incident(self.miner.hotkey, at_s, 0.0 if excused else incident_weight(last))

    def _count(self, event: JobEvent) -> None:
        at_s = monotonic_s()
        self.parts.metrics.stage_seconds.labels(self.record.state.value).observe(at_s - self._moved_at_s)
        self._moved_at_s = at_s
        if self.is_over:
            reason = str(getattr(event, "reason", ""))
            self.parts.metrics.attempts.labels(self.record.state.value, reason).inc()
