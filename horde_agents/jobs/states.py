"""The words for where a job stands and who may say so; shared by agents, database and wire."""

from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """Where a job stands. Values are the wire texts of ``V0JobStatusUpdate.status``."""

    SENT = "sent"
    RECEIVED = "received"
    ACCEPTED = "accepted"
    EXECUTOR_READY = "executor_ready"
    VOLUMES_READY = "volumes_ready"
    STREAMING_READY = "streaming_ready"
    EXECUTION_DONE = "execution_done"
    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    HORDE_FAILED = "horde_failed"

    @property
    def is_final(self) -> bool:
        """True for the four states that no event leaves."""
        return self in FINAL


#: Milestones in the order a job passes them; a job without streaming skips ``STREAMING_READY``.
MILESTONES: Final = (
    JobState.SENT,
    JobState.RECEIVED,
    JobState.ACCEPTED,
    JobState.EXECUTOR_READY,
    JobState.VOLUMES_READY,
    JobState.STREAMING_READY,
    JobState.EXECUTION_DONE,
)
FINAL: Final = frozenset(JobState) - frozenset(MILESTONES)


class Role(StrEnum):
    """Who says that something happened. Values are the wire texts of ``reported_by``."""

    SDK = "sdk"
    FACILITATOR = "facilitator"
    VALIDATOR = "validator"
    MINER = "miner"
    EXECUTOR = "executor"
    UNKNOWN = "unknown"
