"""Sums verdicts up while they stream by; keeps one number for each user of a miner, nothing for a job."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from horde_agents.scoring.facts import BatchWork, MinerWork, OrganicWork, Outcome, Work

#: miner_hotkey, executor_class, is_organic, batch_uuid, user_hotkey, outcome, run_us, limit_us.
VerdictRow: TypeAlias = tuple[str, str, bool, str, str, str, int, int]

_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}
_PASSED: Final = Outcome.PASSED.value
_ENDED: Final = Outcome.HORDE_ENDED.value


class UnknownOutcome(Exception):
    """A stored verdict has an outcome that this version does not know."""


@dataclass(slots=True)
class _Sums:
    """Of one miner and class: jobs by outcome, and each user's time in jobs that passed or were ended."""

    organic: dict[str, int] = field(default_factory=dict)
    batches: dict[str, dict[str, int]] = field(default_factory=dict)
    passed_us: dict[str, int] = field(default_factory=dict)
    ended_us: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """Takes verdicts in any order; ``result`` is the same whatever the order was.

    ``point_us`` is the organic time that makes a point: it parts small users from large ones.
    """

    point_us: int
    rows: int = 0
    _sums: dict[tuple[str, str], _Sums] = field(default_factory=dict)
    _users: dict[str, str] = field(default_factory=dict)

    def add(self, rows: Iterable[VerdictRow]) -> None:
        """Count stored rows; the one loop that runs for each job, so it does as little as it can."""
        sums_of, same_user, many = self._sums, self._users.setdefault, 0
        for miner, name, is_organic, batch, user, outcome, run_us, limit_us in rows:
            many += 1
            sums = sums_of.get((miner, name))
            if sums is None:
                sums = sums_of[miner, name] = _Sums()
            counts = sums.organic if is_organic else sums.batches.setdefault(batch, {})
            counts[outcome] = counts.get(outcome, 0) + 1
            if not is_organic or (outcome != _PASSED and outcome != _ENDED):
                continue
            paid_us = sums.passed_us if outcome == _PASSED else sums.ended_us
            known_us = paid_us.get(user)
            # A call of min() would take as long as half of this loop.
            this_us = run_us if run_us < limit_us else limit_us  # noqa: FURB136
            if known_us is None:
                paid_us[same_user(user, user)] = this_us
            else:
                paid_us[user] = known_us + this_us
        self.rows += many

    def result(self) -> tuple[MinerWork, ...]:
        """The sums by miner and class, everything in the order of its names.

        Raises:
            UnknownOutcome: as its text says.
        """
        return tuple(self._work(*key, self._sums[key]) for key in sorted(self._sums))

    def _work(self, miner: str, name: str, sums: _Sums) -> MinerWork:
        batches = (BatchWork(uuid, _counts(sums.batches[uuid])) for uuid in sorted(sums.batches))
        return MinerWork(miner, name, tuple(batches), self._organic(sums))

    def _organic(self, sums: _Sums) -> OrganicWork:
        passed_us, ended_us = sums.passed_us, sums.ended_us
        small_users = large_users = large_us = 0
        for user, user_us in passed_us.items():
            all_us = user_us + ended_us.get(user, 0)
            if user_us and all_us < self.point_us:
                small_users += 1
            elif all_us:
                large_users += 1
                large_us += all_us
        for user, user_us in ended_us.items():
            if user_us and user not in passed_us:
                large_users += 1
                large_us += user_us
        return OrganicWork(_counts(sums.organic), small_users, large_users, large_us)


def summed(works: Iterable[Work], point_us: int) -> tuple[MinerWork, ...]:
    """The sums of single verdicts."""
    tally = Tally(point_us)
    tally.add(_row(work) for work in works)
    return tally.result()


def _row(work: Work) -> VerdictRow:
    times = (work.run_us, work.limit_us)
    who = (work.miner_hotkey, work.executor_class)
    return (*who, work.is_organic, work.batch_uuid, work.user_hotkey, work.outcome.value, *times)


def _counts(counts: Mapping[str, int]) -> dict[Outcome, int]:
    unknown = sorted(set(counts) - set(_OUTCOMES))
    if unknown:
        raise UnknownOutcome(
            f"The store has a verdict {unknown[0]!r:.60}; a newer version of horde wrote it."
        )
    return {_OUTCOMES[name]: counts[name] for name in sorted(counts)}
