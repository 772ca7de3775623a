"""Points of one miner in one class: what it did in the cycle, before any comparison with other miners."""

from dataclasses import dataclass
from fractions import Fraction

from horde_agents.scoring.allowance import allowance_points, capped, slots_of
from horde_agents.scoring.facts import BatchWork, MinerWork, Outcome
from horde_agents.scoring.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Points:
    """Where a miner's points in a class come from.

    ``limited`` are synthetic points above the limit of executors of their batch, ``topped_up`` users whose
    work is worth less than the one point they give; ``organic`` is before, ``organic_paid`` after the
    allowance.
    """

    passed: int
    excused: int
    limited: int
    users: int
    topped_up: int
    organic: Fraction
    slots: int
    allowance: Fraction

    @property
    def synthetic(self) -> int:
        """Points of synthetic jobs."""
        return self.passed + self.excused - self.limited

    @property
    def organic_paid(self) -> Fraction:
        """Points of organic jobs."""
        return min(self.organic, self.allowance)

    @property
    def total(self) -> Fraction:
        """All points, without any bonus."""
        return self.synthetic + self.organic_paid


def points_of(work: MinerWork, inputs: Inputs) -> Points:
    """The points of a miner's work in a class.

    A passed or excused synthetic job gives one; a user with a job that passed gives one at least. What
    failed, was declined badly or did not run gives nothing and takes nothing away.
    """
    most = inputs.configuration.max_executors_per_class.get(work.executor_class)
    organic = work.organic
    return Points(
        passed=sum(batch.count(Outcome.PASSED) for batch in work.batches),
        excused=sum(batch.count(Outcome.EXCUSED) for batch in work.batches),
        limited=sum(_above_limit(batch, most) for batch in work.batches),
        users=organic.small_users + organic.large_users,
        topped_up=organic.small_users,
        organic=organic.small_users + Fraction(organic.large_us, inputs.point_us),
        slots=slots_of(inputs, work),
        allowance=allowance_points(inputs, work),
    )


def _above_limit(batch: BatchWork, most: int | None) -> int:
    good = batch.count(Outcome.PASSED, Outcome.EXCUSED)
    return good - capped(good, most)
