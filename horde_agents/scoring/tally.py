"""Sums verdicts up while they stream by; keeps one entry for each batch and user of a miner, not a job."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from horde_agents.scoring.facts import BatchWork, MinerWork, Outcome, UserWork, Work

#: miner_hotkey, executor_class, is_organic, batch_uuid, user_hotkey, outcome, run_us, limit_us.
VerdictRow: TypeAlias = tuple[str, str, bool, str, str, str, int, int]
#: A verdict's columns without its times.
_Key: TypeAlias = tuple[str, str, bool, str, str, str]

_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


class UnknownOutcome(Exception):
    """A stored verdict has an outcome that this version does not know."""


@dataclass(slots=True)
class _Sums:
    batches: dict[str, dict[Outcome, int]] = field(default_factory=dict)
    users: dict[str, "_User"] = field(default_factory=dict)


@dataclass(slots=True)
class _User:
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    paid_us: dict[Outcome, int] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """Takes verdicts in any order; ``result`` is the same whatever the order was."""

    rows: int = 0
    _sums: dict[_Key, list[int]] = field(default_factory=dict)

    def add(self, rows: Iterable[VerdictRow]) -> None:
        """Count stored rows; the one loop that runs for each job, so it does as little as it can."""
        sums, many = self._sums, 0
        for row in rows:
            many += 1
            key, paid_us = row[:6], row[6]
            if paid_us > row[7]:  # a call of min() takes as long as the rest of this loop
                paid_us = row[7]
            known = sums.get(key)
            if known is None:
                sums[key] = [1, paid_us]
            else:
                known[0] += 1
                known[1] += paid_us
        self.rows += many

    def result(self) -> tuple[MinerWork, ...]:
        """The sums by miner and class, everything in the order of its names.

        Raises:
            UnknownOutcome: as its text says.
        """
        gathered: dict[tuple[str, str], _Sums] = {}
        for (miner, name, is_organic, batch, user, outcome), (jobs, paid_us) in self._sums.items():
            into = gathered.setdefault((miner, name), _Sums())
            kind = _outcome(outcome)
            if is_organic:
                who = into.users.setdefault(user, _User())
                _count(who.outcomes, kind, jobs)
                _count(who.paid_us, kind, paid_us)
            else:
                _count(into.batches.setdefault(batch, {}), kind, jobs)
        return tuple(_work(*key, sums) for key, sums in sorted(gathered.items(), key=lambda item: item[0]))


def summed(works: Iterable[Work]) -> tuple[MinerWork, ...]:
    """The sums of single verdicts."""
    tally = Tally()
    tally.add(_row(work) for work in works)
    return tally.result()


def _row(work: Work) -> VerdictRow:
    times = (work.run_us, work.limit_us)
    who = (work.miner_hotkey, work.executor_class)
    return (*who, work.is_organic, work.batch_uuid, work.user_hotkey, work.outcome.value, *times)


def _outcome(text: str) -> Outcome:
    known = _OUTCOMES.get(text)
    if known is None:
        raise UnknownOutcome(f"The store has a verdict {text!r:.60}; a newer version of horde wrote it.")
    return known


def _count(counts: dict[Outcome, int], outcome: Outcome, many: int) -> None:
    counts[outcome] = counts.get(outcome, 0) + many


def _work(miner: str, name: str, sums: _Sums) -> MinerWork:
    batches = (BatchWork(uuid, _sorted(sums.batches[uuid])) for uuid in sorted(sums.batches))
    users = (_user_work(user, sums.users[user]) for user in sorted(sums.users))
    return MinerWork(miner, name, tuple(batches), tuple(users))


def _user_work(user: str, sums: _User) -> UserWork:
    passed_us = sums.paid_us.get(Outcome.PASSED, 0)
    return UserWork(user, _sorted(sums.outcomes), passed_us, sums.paid_us.get(Outcome.HORDE_ENDED, 0))


def _sorted(counts: Mapping[Outcome, Any]) -> dict[Outcome, int]:
    return {outcome: counts[outcome] for outcome in sorted(counts)}
