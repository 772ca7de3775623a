"""What the outputs of one job at several miners say about them. Pure."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from horde_agents.jobs.events import Finished
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY
from horde_agents.store.cross_checks import AGREED, DISAGREED, UNDECIDED

#: Confirmed results after which only the configured share of a miner's jobs is run again.
CLEAN_ENOUGH: Final = 50
#: Characters of output kept as evidence; its hash covers all of it.
_EXCERPT_CHARS: Final = 2000
_MOST_ARTIFACTS: Final = 256


@dataclass(frozen=True, slots=True)
class Output:
    """What a miner returned for the job."""

    miner_hotkey: str
    finished: Finished

    @property
    def digest(self) -> str:
        """A hash of what can be compared: standard output and artifacts; errors often hold times."""
        value = [self.finished.stdout, sorted(self.finished.artifacts.items())]
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()

    def evidence(self) -> dict[str, Any]:
        """The output as it is kept, bounded."""
        artifacts = sorted(self.finished.artifacts.items())[:_MOST_ARTIFACTS]
        return {
            "miner_hotkey": self.miner_hotkey,
            "sha256": self.digest,
            "stdout": self.finished.stdout[:_EXCERPT_CHARS],
            "artifacts": {path[:256]: hashlib.sha256(text.encode()).hexdigest() for path, text in artifacts},
        }


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a comparison came to; ``loser`` is empty where nobody was found wrong."""

    state: str
    why: str
    loser: str = ""


def why_not_comparable(request: V2JobRequest) -> str | None:
    """Why two runs of a job need not give the same; ``None`` where they should."""
    if "@sha256:" not in request.docker_image:
        return "its image is not named by digest"
    if request.streaming_details is not None:
        return "it streams"
    return None


def has_output(finished: Finished) -> bool:
    """Whether there is anything to compare."""
    return bool(finished.stdout or finished.artifacts)


def chance(share: Fraction, clean_streak: int) -> float:
    """How likely a job is run again: all of a newcomer's, down to ``share`` after enough clean ones."""
    if share <= 0:
        return 0.0
    return math.pow(share, min(clean_streak, CLEAN_ENOUGH) / CLEAN_ENOUGH)


def ruling(first: Output, others: Sequence[Output]) -> Ruling | None:
    """What two or three outputs say; ``None`` when a third is needed. One mismatch alone says nothing.

    The trusted miner is never the loser: where it stands alone, the job is taken for an unsteady one.
    """
    second = others[0]
    if second.digest == first.digest:
        return Ruling(AGREED, f"{second.miner_hotkey} came to the same")
    if len(others) == 1:
        return None
    third = others[1]
    for right, wrong in ((first, second), (second, first)):
        if third.digest == right.digest and wrong.miner_hotkey != TRUSTED_MINER_HOTKEY:
            why = f"{right.miner_hotkey} and {third.miner_hotkey} came to the same, {wrong.miner_hotkey} not"
            return Ruling(DISAGREED, why, wrong.miner_hotkey)
    return Ruling(UNDECIDED, "no two came to the same: the job is not deterministic")


def report_ruling(reported: Output, others: Sequence[Output]) -> Ruling | None:
    """What reruns say about a reported miner; ``None`` when another is needed.

    Found wrong is only whoever differs from two runs that agree with each other.
    """
    if any(other.digest == reported.digest for other in others):
        return Ruling(AGREED, "a rerun came to the same as the reported miner")
    if len(others) < 2:
        return None
    if others[0].digest == others[1].digest:
        why = f"two reruns at {others[0].miner_hotkey} and {others[1].miner_hotkey} agree against it"
        return Ruling(DISAGREED, why, reported.miner_hotkey)
    return Ruling(UNDECIDED, "the reruns differ from each other: the job is not deterministic")
