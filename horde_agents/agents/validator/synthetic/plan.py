"""When batches and challenges fire, and which executors they test. Pure but for the draw it is given."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from horde_agents.scoring.cycles import Cycle, Seat


@dataclass(frozen=True, slots=True)
class Pace:
    """Blocks that a batch takes before and after its instant."""

    before_blocks: int
    after_blocks: int

    @property
    def whole_blocks(self) -> int:
        """All of them."""
        return self.before_blocks + self.after_blocks


def batch_block(seat: Seat, pace: Pace, not_before: int, rng: Random) -> int | None:
    """The private instant of a batch: one that leaves it inside its seat; ``None`` when none is left."""
    first = max(seat.first_block, not_before) + pace.before_blocks
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
    """The part of all executors that one batch may test, so that all validators' together keep to it."""
    budget_s = synthetic_share * Fraction(cycle_s) / max(seats, 1)
    return min(budget_s / Fraction(max(job_s, 1)), Fraction(1))


def sampled(
    offered: Mapping[str, Mapping[str, int]], share: Fraction, rng: Random
) -> dict[str, dict[str, int]]:
    """How many executors of each miner and class to test: the share, rounded by chance, and one at least."""
    return {
        miner: {name: _part(count, share, rng) for name, count in sorted(counts.items()) if count > 0}
        for miner, counts in sorted(offered.items())
    }


def shuffled(counts: Mapping[str, Mapping[str, int]], rng: Random) -> list[tuple[str, str]]:
    """One (miner, class) for each executor to test, in a drawn order."""
    each = list(_each(counts))
    rng.shuffle(each)
    return each


def estimated(passed: int, tested: int, offered: int) -> int:
    """Executors that a miner can be taken to have when only some were tested; never more than it offers."""
    return offered * passed // tested if tested else 0


def _each(counts: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, str]]:
    for miner, classes in counts.items():
        for name, count in classes.items():
            for _ in range(count):
                yield miner, name


def _part(count: int, share: Fraction, rng: Random) -> int:
    exact = count * share
    whole = int(exact)
    return min(max(whole + (rng.random() < float(exact - whole)), 1), count)


def _near(block: int, other: int | None, pace: Pace) -> bool:
    return other is not None and abs(block - other) < pace.whole_blocks
