"""Points of one miner in one class: what each verdict earns, and what the allowance leaves of it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from horde_agents.scoring.facts import Outcome, Tally

_US_PER_S: Final = 1_000_000
_EARNS: Final = frozenset({Outcome.PASSED, Outcome.HORDE_ENDED})


@dataclass(slots=True)
class ClassWork:
    """One miner's work of one class in a cycle; ``users_us`` is organic time by user."""

    passed: int = 0
    excused: int = 0
    failed: int = 0
    users_us: dict[str, int] = field(default_factory=dict)

    def add(self, tally: Tally) -> None:
        """Take in verdicts that agree."""
        if tally.is_organic:
            if tally.outcome in _EARNS and tally.paid_us > 0:
                known_us = self.users_us.get(tally.user_hotkey, 0)
                self.users_us[tally.user_hotkey] = known_us + tally.paid_us
        elif tally.outcome is Outcome.PASSED:
            self.passed += tally.jobs
        elif tally.outcome is Outcome.EXCUSED:
            self.excused += tally.jobs
        elif tally.outcome is not Outcome.NOT_RUN:
            self.failed += tally.jobs

    def organic(self, s_per_point: int) -> Fraction:
        """Points of organic time, before the cap: at least one for each user that had any."""
        per_point_us = s_per_point * _US_PER_S
        return sum(
            (max(Fraction(us, per_point_us), Fraction(1)) for us in self.users_us.values()), Fraction(0)
        )


@dataclass(frozen=True, slots=True)
class Points:
    """What one miner has earned in one class; ``organic_uncapped`` says what the cap has taken."""

    synthetic: Fraction
    excused: Fraction
    organic: Fraction
    organic_uncapped: Fraction

    @property
    def total(self) -> Fraction:
        """All of it."""
        return self.synthetic + self.excused + self.organic


def gathered(tallies: Iterable[Tally]) -> dict[tuple[str, str], ClassWork]:
    """The work by miner and class."""
    work: dict[tuple[str, str], ClassWork] = {}
    for tally in tallies:
        work.setdefault((tally.miner_hotkey, tally.executor_class), ClassWork()).add(tally)
    return work


def points_of(work: ClassWork, allowance: Fraction, s_per_point: int) -> Points:
    """Points of a miner's work in a class, organic ones up to ``allowance``."""
    uncapped = work.organic(s_per_point)
    return Points(Fraction(work.passed), Fraction(work.excused), min(uncapped, allowance), uncapped)
