"""What the validator does when an attempt moves. Pure: returns effects, performs none.

Also says which reports of a miner are early (kept for later) or impossible (the miner's fault).
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from horde_agents.agents.validator.reliability import DECLINE_WEIGHT
from horde_agents.jobs.budget import Limits
from horde_agents.jobs.events import (
    Accepted,
    Cancelled,
    Declined,
    ExecutionDone,
    ExecutorReady,
    Expired,
    Finished,
    HordeFailed,
    JobEvent,
    JobFailed,
    Received,
    StreamingReady,
    VolumesReady,
)
from horde_agents.jobs.faults import Cause, HordeFaultReason, RejectionReason
from horde_agents.jobs.lifecycle import Job
from horde_agents.jobs.states import MILESTONES, JobState, Role
from horde_agents.receipts.payloads import ReceiptType


@dataclass(frozen=True, slots=True)
class Plan:
    """The seconds an attempt may take, stage by stage."""

    limits: Limits
    spin_up_s: float
    startup_s: float
    reservation_s: float
    is_streaming: bool

    @property
    def ready_s(self) -> float:
        """From *accepted* to *executor ready*."""
        return self.spin_up_s + self.startup_s

    @property
    def accepted_ttl_s(self) -> int:
        """How long an accepted attempt may occupy its executor (wire note C.8.3)."""
        return int(self.ready_s + self.limits.running_s)


@dataclass(frozen=True, slots=True)
class Step:
    """``event`` has just moved the attempt from ``before`` to ``attempt.state``."""

    attempt: Job
    before: JobState
    event: JobEvent
    plan: Plan
    may_retry: bool
    is_excused: bool = False

    @property
    def was_accepted(self) -> bool:
        """Whether the user has been told that a miner took the job."""
        return any(isinstance(event, Accepted) for event in self.attempt.history)


@dataclass(frozen=True, slots=True)
class Forward:
    """The attempt's event becomes the job's, and the facilitator hears of it."""

    event: JobEvent


@dataclass(frozen=True, slots=True)
class TryAnother:
    """The job goes to another miner; ``because`` is told when none is left."""

    because: JobEvent


@dataclass(frozen=True, slots=True)
class SendPayload:
    """The miner is told what to run."""


@dataclass(frozen=True, slots=True)
class StartClock:
    """The stage that begins now may take this long."""

    granted_s: float


@dataclass(frozen=True, slots=True)
class ExtendClock:
    """The running budget grows; what is left of it carries over."""

    granted_s: float


@dataclass(frozen=True, slots=True)
class SignReceipt:
    """``amount_s`` is the time to live of an accepted receipt, the value of a finished one."""

    receipt_type: ReceiptType
    amount_s: int


@dataclass(frozen=True, slots=True)
class Blame:
    """The miner gets no jobs for a while; ``is_fault`` pauses grow with each, others do not."""

    why: str
    is_fault: bool


Effect: TypeAlias = Forward | TryAnother | SendPayload | StartClock | ExtendClock | SignReceipt | Blame

_UNPAID: Final = SignReceipt(ReceiptType.FINISHED, 0)
#: What a miner's silence is called in each state (wire note C.7.4).
_SILENCE: Final = {
    JobState.SENT: HordeFaultReason.INITIAL_RESPONSE_TIMED_OUT,
    JobState.ACCEPTED: HordeFaultReason.EXECUTOR_READINESS_RESPONSE_TIMED_OUT,
    JobState.EXECUTOR_READY: HordeFaultReason.VOLUMES_TIMED_OUT,
    JobState.STREAMING_READY: HordeFaultReason.EXECUTION_TIMED_OUT,
    JobState.EXECUTION_DONE: HordeFaultReason.FINAL_RESPONSE_TIMED_OUT,
}
_MINERS_SILENCE: Final = frozenset(
    {
        *_SILENCE.values(),
        HordeFaultReason.STREAMING_JOB_READY_TIMED_OUT,
        HordeFaultReason.MINER_CONNECTION_FAILED,
        HordeFaultReason.GENERIC_ERROR,
    }
)


def react(step: Step) -> tuple[Effect, ...]:
    """Plan the effects of a step, in the order they are to be performed."""
    event, plan = step.event, step.plan
    tell = Forward(event)
    match event:
        case Accepted():
            return (tell, SignReceipt(ReceiptType.ACCEPTED, plan.accepted_ttl_s), StartClock(plan.ready_s))
        case ExecutorReady():
            return (SendPayload(), tell, StartClock(_granted_s(step)))
        case VolumesReady() | StreamingReady() | ExecutionDone():
            return (tell, ExtendClock(_granted_s(step)))
        case Finished():
            return (SignReceipt(ReceiptType.FINISHED, plan.limits.value_s), tell)
        case JobFailed() | Cancelled() | Expired():
            return (_UNPAID, tell)
        case Declined():
            blame = () if step.is_excused else (Blame(f"declined: {event.reason}", is_fault=False),)
            return (_UNPAID, *blame, _next_or_end(step))
        case HordeFailed():
            blame = (
                (Blame(f"{event.reason}: {event.message}", is_fault=True),) if is_miners_fault(event) else ()
            )
            return (_UNPAID, *blame, _next_or_end(step))
        case Received():
            return ()
        case _:
            assert_never(event)


def silence(state: JobState, *, is_streaming: bool) -> HordeFaultReason:
    """What it is called when the miner lets the time of ``state`` pass."""
    if state is JobState.VOLUMES_READY:
        if is_streaming:
            return HordeFaultReason.STREAMING_JOB_READY_TIMED_OUT
        return HordeFaultReason.EXECUTION_TIMED_OUT
    return _SILENCE[state]


def is_early(state: JobState, event: JobEvent) -> bool:
    """True for a report that is kept until the one before it has come (wire note C.3.1)."""
    if state.is_final:
        return False
    if isinstance(event, ExecutorReady):
        return state is JobState.SENT
    return isinstance(event, VolumesReady) and _index(state) < _index(JobState.EXECUTOR_READY)


def why_impossible(state: JobState, event: JobEvent) -> str | None:
    """Why an honest miner cannot say ``event`` in ``state``; ``None`` when it can."""
    if state.is_final:
        return None
    if state is JobState.SENT and isinstance(event, JobFailed):
        return "blamed a job that it had not accepted"
    unasked = _index(state) < _index(JobState.EXECUTOR_READY)
    if unasked and isinstance(event, StreamingReady | ExecutionDone | Finished):
        return f"reported {type(event).__name__} before it was told what to run"
    if isinstance(event, Declined) and state is not JobState.SENT:
        return "declined an attempt that it had accepted"
    return None


def as_cancelled(event: JobEvent, *, was_asked: bool) -> JobEvent:
    """A miner's report of a cancelled job, read as what it is: our own doing, or its own fault."""
    if not isinstance(event, JobFailed) or event.context.get("cause") != Cause.CANCELLED:
        return event
    if was_asked:
        return Cancelled(Role.VALIDATOR, event.message)
    return HordeFailed(
        Role.MINER, HordeFaultReason.GENERIC_ERROR, "The miner cancelled a job that nobody took back."
    )


def is_busy(event: JobEvent) -> bool:
    """True for the one decline that receipts can excuse (wire note C.9)."""
    return isinstance(event, Declined) and event.reason is RejectionReason.BUSY


def incident_weight(event: JobEvent) -> float:
    """How much an attempt's last event counts against its miner; an excused decline is not asked about."""
    if isinstance(event, HordeFailed):
        return 1.0 if is_miners_fault(event) else 0.0
    return DECLINE_WEIGHT if isinstance(event, Declined) else 0.0


def _next_or_end(step: Step) -> Forward | TryAnother:
    if step.was_accepted or not step.may_retry:
        return Forward(step.event)
    return TryAnother(step.event)


def is_miners_fault(event: HordeFailed) -> bool:
    """Whether the horde's failure is that of the miner, by who says so and of what."""
    if event.origin in {Role.MINER, Role.EXECUTOR}:
        return True
    return event.origin is Role.VALIDATOR and event.reason in _MINERS_SILENCE


def _granted_s(step: Step) -> float:
    return _running_s(step.attempt.state, step.plan) - _running_s(step.before, step.plan)


def _running_s(state: JobState, plan: Plan) -> float:
    """Seconds granted from *executor ready* up to the end of the stage that ``state`` begins."""
    limits, reached = plan.limits, _index(state)
    granted = 0
    if reached >= _index(JobState.EXECUTOR_READY):
        granted += limits.leeway_s + limits.download_s
    if plan.is_streaming and reached >= _index(JobState.VOLUMES_READY):
        granted += limits.streaming_start_s
    if reached >= _index(JobState.STREAMING_READY if plan.is_streaming else JobState.VOLUMES_READY):
        granted += limits.execution_s
    if reached >= _index(JobState.EXECUTION_DONE):
        granted += limits.upload_s
    return granted


def _index(state: JobState) -> int:
    return MILESTONES.index(state)
