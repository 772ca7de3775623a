"""What the end of a synthetic job means, before its answer is looked at. Pure.

Faults outside the horde, or of this validator, count against no miner: its own slowness, a network in which
it reaches nobody, a store from which most miners could not fetch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from horde_agents.agents.validator.reactions import is_busy, is_miners_fault
from horde_agents.agents.validator.synthetic.kinds import Finding
from horde_agents.jobs.events import Declined, Finished, HordeFailed, JobEvent, JobFailed
from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason, Stage
from horde_agents.jobs.states import Role
from horde_agents.scoring.facts import Outcome

#: Why a job was not run where a miner was busy for this validator itself; its executor counts as there.
OWN_JOB: Final = "busy with a job of this validator's own"
_TRANSFERS: Final = frozenset({JobFaultReason.DOWNLOAD_FAILED, JobFaultReason.UPLOAD_FAILED})
_TRANSFER_STAGES: Final = frozenset({Stage.EXECUTOR_STARTUP, Stage.VOLUME_DOWNLOAD, Stage.RESULT_UPLOAD})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What happened around one job.

    ``lag_s`` is by how much this validator's own loop was late at most, ``explains_decline`` that an own job
    keeps the executor that was asked for, ``is_beyond_proven`` that the coldkey has as many executors there
    as it has proven lately. ``is_cut_off`` and ``is_store_down`` are the whole batch's.
    """

    fired: bool
    took_us: int
    limit_us: int
    lag_s: float
    most_lag_s: float
    explains_decline: bool = False
    excuse: str = ""
    is_beyond_proven: bool = False
    is_cut_off: bool = False
    is_store_down: bool = False

    @property
    def was_slow_here(self) -> bool:
        """Whether this validator itself was too busy to measure anybody."""
        return self.lag_s > self.most_lag_s


def early_finding(event: JobEvent, around: Circumstances) -> Finding | None:
    """The judgement of a job by its end alone; ``None`` when its answer decides."""
    match event:
        case Finished():
            return _finished(around)
        case Declined() if is_busy(event):
            return _declined_busy(around)
        case Declined():
            return Finding(Outcome.REJECTED_BADLY, f"declined: {event.reason}")
        case HordeFailed() if not is_miners_fault(event):
            return Finding(Outcome.NOT_RUN, f"not the miner's fault: {event.reason}")
        case HordeFailed() if around.was_slow_here:
            return Finding(Outcome.NOT_RUN, _slow(around))
        case HordeFailed() if around.is_cut_off and is_lost(event):
            return Finding(Outcome.NOT_RUN, "no miner could be reached: the fault is taken to be here")
        case HordeFailed():
            return Finding(Outcome.FAILED, f"{event.reason}: {event.message}")
        case JobFailed() if around.is_store_down and is_transfer(event):
            return Finding(Outcome.NOT_RUN, f"transfers failed at most miners: {event.message}")
        case JobFailed():
            return Finding(Outcome.FAILED, f"{event.reason} in {event.stage}: {event.message}")
        case _:
            return Finding(Outcome.FAILED, f"the job ended as {type(event).__name__}")


def is_lost(event: JobEvent) -> bool:
    """Whether this validator could not reach the miner."""
    return (
        isinstance(event, HordeFailed)
        and event.origin is Role.VALIDATOR
        and event.reason is HordeFaultReason.MINER_CONNECTION_FAILED
    )


def is_transfer(event: JobEvent) -> bool:
    """Whether an image, a volume or an upload failed, which may be the fault of their store."""
    return isinstance(event, JobFailed) and (event.reason in _TRANSFERS or event.stage in _TRANSFER_STAGES)


def is_cut_off(ends: Mapping[str, Sequence[JobEvent]]) -> bool:
    """Whether none of several miners could be reached; ``ends`` are jobs' last events by miner."""
    return len(ends) > 1 and all(any(is_lost(event) for event in events) for events in ends.values())


def is_store_down(ends: Mapping[str, Sequence[JobEvent]]) -> bool:
    """Whether transfers failed at more than half of the miners, and at two at least."""
    failed = sum(any(is_transfer(event) for event in events) for events in ends.values())
    return failed > 1 and 2 * failed > len(ends)


def _finished(around: Circumstances) -> Finding | None:
    if not around.fired:
        return Finding(Outcome.FAILED, "answered before it was told what to run")
    if around.took_us <= around.limit_us:
        return None
    if around.was_slow_here:
        return Finding(Outcome.NOT_RUN, _slow(around))
    return Finding(
        Outcome.FAILED, f"took {around.took_us / 1e6:.1f} s of {around.limit_us / 1e6:.0f} s: too long"
    )


def _declined_busy(around: Circumstances) -> Finding:
    if around.explains_decline:
        return Finding(Outcome.NOT_RUN, OWN_JOB)
    if around.excuse:
        return Finding(Outcome.EXCUSED, around.excuse)
    if around.is_beyond_proven:
        return Finding(Outcome.REJECTED_BADLY, "declined as busy beyond the executors that were ever proven")
    return Finding(Outcome.REJECTED_BADLY, "declined as busy, without a receipt that shows it")


def _slow(around: Circumstances) -> str:
    return f"this validator was late by {around.lag_s:.1f} s itself"
