"""What a cycle is scored from: tallies of own verdicts, measured counts, the metagraph, the knobs. Pure.

Everything is a whole number or a text, in one order, so that the same facts are the same bytes.
"""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.cycles import Cycle, cycle_at

#: Counts and sums above this are nobody's honest work, and would grow without end.
_MOST: Final = 10**18

Count = Annotated[int, Field(ge=0, le=_MOST, strict=True)]


class Outcome(StrEnum):
    """How one attempt of the validator's own ended."""

    PASSED = "passed"
    FAILED = "failed"
    EXCUSED = "excused"  # a synthetic job, declined with a valid excuse
    NOT_RUN = "not_run"  # for a reason that is not the miner's
    REJECTED_BADLY = "rejected_badly"  # declined without a valid excuse
    HORDE_ENDED = "horde_ended"  # the horde broke off what had run for a while


class InputsWrong(Exception):
    """Stored inputs cannot be read; the text says where."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NeuronFact(_Fact):
    """One UID at the cycle's first block."""

    uid: Count
    hotkey: str
    coldkey: str
    stake_rao: Count
    permit: bool


class Tally(_Fact):
    """Verdicts that agree in all that scores: how many, and ``paid_us``, the sum of min(run, limit)."""

    miner_hotkey: str
    executor_class: str
    is_organic: bool
    user_hotkey: str = ""
    outcome: Outcome
    jobs: Count
    paid_us: Count = 0


class Measured(_Fact):
    """Executors of a class that a miner proved to have, all at one instant of the cycle."""

    miner_hotkey: str
    executor_class: str
    executors: Count


class Inputs(_Fact):
    """Everything of one cycle.

    ``neurons`` are those of the cycle's first block, ``registered`` who has each UID when it is scored.
    ``before`` are the counts measured in the cycle before, ``measured_before`` the miners that were measured
    then at all. ``own_share`` is the validator's fair share, an exact text; ``cycle_s`` the cycle's seconds.
    """

    netuid: Count
    cycle: Count
    cycle_blocks: Count
    cycle_s: Count
    validator_hotkey: str
    own_share: str
    configuration: Configuration
    neurons: tuple[NeuronFact, ...]
    registered: dict[int, str]
    tallies: tuple[Tally, ...] = ()
    now: tuple[Measured, ...] = ()
    before: tuple[Measured, ...] = ()
    measured_before: tuple[str, ...] = ()

    @property
    def period(self) -> Cycle:
        """The cycle itself."""
        return cycle_at(self.cycle, self.netuid, self.cycle_blocks)

    def as_json(self) -> str:
        """The canonical text: sorted lists and keys, ASCII."""
        plain = self.model_dump(mode="json")
        for name in ("neurons", "tallies", "now", "before"):
            plain[name] = sorted(plain[name], key=canonical)
        plain["measured_before"] = sorted(plain["measured_before"])
        return canonical(plain)


def read_inputs(text: str) -> Inputs:
    """Inputs from their text.

    Raises:
        InputsWrong: not such a text.
    """
    try:
        return Inputs.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputsWrong(f"scoring inputs: {where}: {first['msg']}") from error


def counts_of(measured: Iterable[Measured]) -> dict[str, dict[str, int]]:
    """Executors by class, by miner."""
    counts: dict[str, dict[str, int]] = {}
    for fact in measured:
        counts.setdefault(fact.miner_hotkey, {})[fact.executor_class] = fact.executors
    return counts


def canonical(value: Mapping[str, Any]) -> str:
    """One text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
