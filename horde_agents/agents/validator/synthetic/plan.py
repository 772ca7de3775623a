"""When batches and challenges fire, and which executors they test. Pure but for the draw it is given."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from random import Random
from typing import Final, TypeAlias

from horde_agents.scoring.cycles import Cycle, Seat

#: Executors by class, by miner.
Counts: TypeAlias = Mapping[str, Mapping[str, int]]
_LEAST_SHARE: Final = Fraction(1, 4096)


@dataclass(frozen=True, slots=True)
class Pace:
    """Blocks that a batch takes before and after its instant.

    In ``making_blocks`` of those before, the first ones, its tasks are made, which occupies no miner.
    """

    before_blocks: int
    after_blocks: int
    making_blocks: int = 0

    @property
    def whole_blocks(self) -> int:
        """All of them."""
        return self.before_blocks + self.after_blocks

    @property
    def seat_blocks(self) -> int:
        """Those that have to lie inside the seat."""
        return self.whole_blocks - self.making_blocks


def batch_block(seat: Seat, pace: Pace, not_before: int, rng: Random) -> int | None:
    """The private instant of a batch: one that leaves it inside its seat; ``None`` when none is left.

    Tasks may be made before the seat begins: that needs nobody but the validator and its trusted miner.
    """
    earliest = max(seat.first_block - pace.making_blocks, not_before)
    first = earliest + pace.before_blocks
    last = seat.end_block - pace.after_blocks
    return rng.randint(first, last) if first <= last else None


def challenge_blocks(
    cycle: Cycle, taken: int | None, pace: Pace, not_before: int, count: int, rng: Random
) -> list[int]:
    """Up to ``count`` instants anywhere in the cycle where nothing of ours overlaps."""
    first, last = max(cycle.first_block, not_before) + pace.before_blocks, cycle.end_block - pace.after_blocks
    free = [block for block in range(first, last + 1) if not _near(block, taken, pace)]
    found: list[int] = []
    while free and len(found) < count:
        block = rng.choice(free)
        found.append(block)
        free = [other for other in free if not _near(other, block, pace)]
    return sorted(found)


def tested_share(synthetic_share: Fraction, cycle_s: float, seats: int, job_s: float) -> Fraction:
    """The part of all executors that one batch may test, so that all validators' together keep to it.

    It is 1, 1/2, 1/4 and so on, so that it stays the same while a horde grows a little: only counts of the
    same share can be compared with one another.
    """
    budget_s = synthetic_share * Fraction(cycle_s) / max(seats, 1)
    return halved(budget_s / Fraction(max(job_s, 1)))


def bounded_share(offered: Counts, share: Fraction, most_jobs: int) -> Fraction:
    """The share, halved until a batch has at most ``most_jobs`` jobs, or one of each miner and class."""
    while share > _LEAST_SHARE and _total(sampled(offered, share)) > most_jobs:
        share /= 2
    return share


def halved(share: Fraction) -> Fraction:
    """The largest of 1, 1/2, 1/4 … that is at most ``share``."""
    found = Fraction(1)
    while found > share and found > _LEAST_SHARE:
        found /= 2
    return found


def sampled(offered: Counts, share: Fraction) -> dict[str, dict[str, int]]:
    """How many executors of each miner and class to test: the share, rounded up, so that none is left out.

    The same for the same horde: a count that changed by the luck of a draw would look like a dance.
    """
    return {
        miner: {name: ceil(count * share) for name, count in sorted(counts.items()) if count > 0}
        for miner, counts in sorted(offered.items())
    }


def shuffled(counts: Counts, rng: Random) -> list[tuple[str, str]]:
    """One (miner, class) for each executor to test, in a drawn order."""
    each = list(_each(counts))
    rng.shuffle(each)
    return each


def _total(counts: Counts) -> int:
    return sum(sum(classes.values()) for classes in counts.values())


def _each(counts: Counts) -> Iterator[tuple[str, str]]:
    for miner, classes in counts.items():
        for name, count in classes.items():
            for _ in range(count):
                yield miner, name


def _near(block: int, other: int | None, pace: Pace) -> bool:
    return other is not None and abs(block - other) < pace.whole_blocks
