"""What scoring starts from: single verdicts, measured counts, neurons, and the verdicts summed up.

Everything here was measured by the validator itself or read from the chain; a miner's claims do not occur.
The sums are in microseconds and counts, never floats. ``inputs.py`` puts a cycle's facts together.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

#: A week: no job is longer, and the sum over ten million rows stays within 64 bits.
MAX_RUN_US: Final = 7 * 24 * 3600 * 1_000_000
_STRICT: Final = ConfigDict(extra="forbid", strict=True)

Text64 = Annotated[str, Field(min_length=1, max_length=64)]
Count = Annotated[int, Field(ge=0, lt=2**40)]
Microseconds = Annotated[int, Field(ge=0, lt=2**63)]


class Outcome(StrEnum):
    """What an attempt of the validator's own came to."""

    PASSED = "passed"
    #: It failed, or its answer was wrong or late: the miner's fault.
    FAILED = "failed"
    #: Declined with good excuses.
    EXCUSED = "excused"
    #: Declined without.
    REJECTED_BADLY = "rejected_badly"
    #: It never ran through a fault that is not the miner's, or as an own job was running.
    NOT_RUN = "not_run"
    #: The horde ended a job that was running; it is paid for the time that is proven.
    HORDE_ENDED = "horde_ended"


@dataclass(frozen=True, slots=True)
class Work:
    """One verdict on an attempt. ``run_us`` counts up to ``limit_us``; a batch uuid is synthetic only."""

    attempt_uuid: str
    is_organic: bool
    batch_uuid: str
    miner_hotkey: str
    executor_class: str
    user_hotkey: str
    outcome: Outcome
    run_us: int
    limit_us: int

    def __post_init__(self) -> None:
        for name, value in (("run_us", self.run_us), ("limit_us", self.limit_us)):
            if not 0 <= value <= MAX_RUN_US:
                raise ValueError(f"{name} of attempt {self.attempt_uuid} is {value}, not in 0..{MAX_RUN_US}")
        if not (self.miner_hotkey and self.executor_class and self.attempt_uuid):
            raise ValueError(f"verdict on attempt {self.attempt_uuid!r} lacks uuid, miner or class")

    @property
    def paid_us(self) -> int:
        """The time that counts."""
        return min(self.run_us, self.limit_us)


@dataclass(frozen=True, slots=True)
class BatchCount:
    """Executors of a class that a miner had at the one instant at which a batch fired.

    Counted are those that passed, were excused or ran the validator's own job. A miner that was asked and
    had none has a row with 0: without any row it was not measured.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    batch_uuid: Text64
    fire_block: Annotated[int, Field(ge=0, lt=2**40)]
    miner_hotkey: Text64
    executor_class: Text64
    executors: Annotated[int, Field(ge=0, lt=2**20)]


@dataclass(frozen=True, slots=True)
class NeuronFact:
    """A row of the metagraph; ``permit`` is the validator permit."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    uid: Annotated[int, Field(ge=0, le=65535)]
    hotkey: Text64
    coldkey: Text64
    stake_rao: Annotated[int, Field(ge=0, lt=2**64)]
    permit: bool


@dataclass(frozen=True, slots=True)
class BatchWork:
    """How many synthetic jobs of a batch, at one miner and class, came to what."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    batch_uuid: Annotated[str, Field(max_length=64)]
    outcomes: dict[Outcome, Count]

    def count(self, *outcomes: Outcome) -> int:
        """Jobs that came to one of these."""
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)


@dataclass(frozen=True, slots=True)
class OrganicWork:
    """What users' jobs, at one miner and class, came to; no user is named.

    ``small_users`` are those with a job that passed whose time, all in all, is less than a point's;
    ``large_us`` is the time of all other users that counts, ``large_users`` their number.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    outcomes: dict[Outcome, Count]
    small_users: Count
    large_users: Count
    large_us: Microseconds

    def count(self, *outcomes: Outcome) -> int:
        """Jobs that came to one of these."""
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)


@dataclass(frozen=True, slots=True)
class MinerWork:
    """All work of a miner in one class and cycle, batches in the order of their uuids."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    miner_hotkey: Text64
    executor_class: Text64
    batches: tuple[BatchWork, ...]
    organic: OrganicWork
