"""What the end of a synthetic job means, before its answer is looked at. Pure."""

from dataclasses import dataclass

from horde_agents.agents.validator.reactions import is_busy, is_miners_fault
from horde_agents.agents.validator.synthetic.kinds import Finding
from horde_agents.jobs.events import Declined, Finished, HordeFailed, JobEvent
from horde_agents.scoring.facts import Outcome


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What happened around one job: ``lag_s`` is by how much this validator's own loop was late at most."""

    fired: bool
    took_us: int
    limit_us: int
    lag_s: float
    most_lag_s: float
    own_jobs_there: int = 0
    excuse: str = ""

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
        case HordeFailed():
            return Finding(Outcome.FAILED, f"{event.reason}: {event.message}")
        case _:
            return Finding(Outcome.FAILED, f"the job ended as {type(event).__name__}")


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
    if around.own_jobs_there > 0:
        return Finding(Outcome.NOT_RUN, "busy with a job of this validator's own")
    if around.excuse:
        return Finding(Outcome.EXCUSED, around.excuse)
    return Finding(Outcome.REJECTED_BADLY, "declined as busy, without a receipt that shows it")


def _slow(around: Circumstances) -> str:
    return f"this validator was late by {around.lag_s:.1f} s itself"
