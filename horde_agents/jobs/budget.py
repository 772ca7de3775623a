"""How many seconds each stage of a job may take; unused time carries over (wire note C.7.3)."""

from dataclasses import dataclass
from typing import Final

#: Seconds a miner has to accept or decline an offered attempt (wire note C.7.2).
RESERVATION_S: Final = 7.0
#: Seconds granted on top of a class's spin-up until its executor is ready.
STARTUP_S: Final = 10.0
#: Seconds by which the facilitator outwaits a job's whole budget before it ends the job itself.
FACILITATOR_GRACE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The user's limits in seconds, as on the wire; ``leeway_s`` is granted by the validator."""

    download_s: int
    execution_s: int
    upload_s: int
    streaming_start_s: int = 0
    leeway_s: int = 5

    @property
    def running_s(self) -> int:
        """Seconds from *executor ready* to the final report."""
        return self.leeway_s + self.download_s + self.streaming_start_s + self.execution_s + self.upload_s

    @property
    def value_s(self) -> int:
        """What the job is worth: the seconds asked for, streaming excluded (wire note C.8.3)."""
        return self.download_s + self.execution_s + self.upload_s


def whole_budget_s(limits: Limits, spin_up_s: float) -> float:
    """Seconds from offering an attempt to its final report."""
    return RESERVATION_S + spin_up_s + STARTUP_S + limits.running_s


@dataclass(slots=True)
class RunningBudget:
    """One deadline for a whole attempt, extended stage by stage; ``deadline_at`` is monotonic seconds."""

    deadline_at: float

    def extend(self, granted_s: float) -> float:
        """Grant a stage's seconds and return the new deadline."""
        self.deadline_at += granted_s
        return self.deadline_at

    def restart(self, now: float, granted_s: float) -> float:
        """Begin a new running budget at ``now``: what was left before does not count."""
        self.deadline_at = now + granted_s
        return self.deadline_at
