"""Whether a busy decline of a synthetic job is excused: by proof, once, within the signer's share. Pure.

The published rule for organic declines, by started receipts alone, is in ``ledger``.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final, TypeAlias

from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import JobAccepted, JobStarted, Statement

#: Intervals that the newest progress receipt may be old.
_MOST_INTERVALS: Final = 2

Signed: TypeAlias = Receipt | ProgressReceipt


@dataclass(frozen=True, slots=True)
class Excused:
    """Another validator's job keeps an executor busy."""

    validator_hotkey: str
    job_uuid: str


@dataclass(frozen=True, slots=True)
class NotRun:
    """The executor works for this validator itself: neither earned nor lost."""

    why: str


@dataclass(frozen=True, slots=True)
class Bad:
    """Nothing excuses the decline; ``why`` is of the receipt that came nearest."""

    why: str


Judgement: TypeAlias = Excused | NotRun | Bad


@dataclass(frozen=True, slots=True)
class ExcuseFacts:
    """What the validator knows when it judges.

    ``offered`` are the miner's executors of the class, ``own_jobs_there`` those with jobs of its own.
    ``is_signed`` checks all signatures of a receipt, ``accepted_of`` finds a synchronised accepted receipt
    by validator and uuid, ``is_over`` whether its validator has signed the end of a job, and
    ``is_on_page`` whether that validator's own pages, read lately, say that it is not over.
    """

    own_hotkey: str
    stake_rao: Mapping[str, int]
    minimum_stake_rao: int
    offered: int
    own_jobs_there: int
    progress_interval_s: float
    now: datetime
    is_signed: Callable[[Signed], bool]
    accepted_of: Callable[[str, str], JobAccepted | None]
    is_over: Callable[[str, str], bool]
    is_on_page: Callable[[str, str], bool]


@dataclass(slots=True)
class _Job:
    started: Receipt | None = None
    accepted: Receipt | None = None
    progress: ProgressReceipt | None = None


@dataclass(slots=True)
class ExcuseLedger:
    """The excuses used in one batch: each job once, each signer within its share of a miner's class.

    A job is known by its signer and uuid together, because anybody may sign a receipt that names another's
    job.
    """

    _used: set[tuple[str, str]] = field(default_factory=set)
    _by_signer: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def used(self) -> set[str]:
        """The uuids of the jobs that have excused a decline."""
        return {uuid for _, uuid in self._used}

    def judge_decline(self, offer: JobStarted, shown: Iterable[Signed], facts: ExcuseFacts) -> Judgement:
        """Judge the decline of ``offer`` by the receipts that it shows; an excuse that serves is used up."""
        if facts.own_jobs_there > 0:
            return NotRun("busy with a job of this validator's own")
        why = "no receipt was shown"
        for (signer, uuid), job in _by_job(shown).items():
            found = why_no_excuse(job.started, job.accepted, job.progress, offer, facts)
            found = found or self._why_used_up(signer, uuid, offer, facts)
            if found is None:
                self._used.add((signer, uuid))
                self._by_signer[signer, offer.miner_hotkey, offer.executor_class] += 1
                return Excused(signer, uuid)
            why = found
        return Bad(why)

    def _why_used_up(self, signer: str, uuid: str, offer: JobStarted, facts: ExcuseFacts) -> str | None:
        if (signer, uuid) in self._used:
            return "the job has excused another decline"
        share = Fraction(facts.stake_rao.get(signer, 0), max(sum(facts.stake_rao.values()), 1))
        most = -int(-share * facts.offered // 1)
        if self._by_signer[signer, offer.miner_hotkey, offer.executor_class] >= most:
            return f"its signer excuses no more than its share of stake: {most} of {facts.offered} executors"
        return None


def why_no_excuse(
    started: Receipt | None,
    accepted: Receipt | None,
    progress: ProgressReceipt | None,
    offer: JobStarted,
    facts: ExcuseFacts,
) -> str | None:
    """Why the receipts of one job excuse nothing; ``None`` when they do."""
    if started is None or not isinstance(started.payload, JobStarted):
        return "its started receipt was not shown"
    job = started.payload
    signer, uuid = job.validator_hotkey, job.job_uuid
    if signer == facts.own_hotkey:
        return "this validator knows its own jobs"
    if facts.stake_rao.get(signer, 0) < facts.minimum_stake_rao:
        return "its signer has too little stake"
    if not job.is_organic:
        return "the job is synthetic itself"
    if job.executor_class != offer.executor_class or job.miner_hotkey != offer.miner_hotkey:
        return "the job is of another class or miner"
    if not facts.is_signed(started) or not (accepted is None or facts.is_signed(accepted)):
        return "a receipt lacks one of its signatures"
    taken = accepted.payload if accepted is not None else facts.accepted_of(signer, uuid)
    if not isinstance(taken, JobAccepted) or taken.miner_hotkey != offer.miner_hotkey:
        return "no accepted receipt shows that the job was taken"
    if not taken.timestamp < offer.timestamp <= taken.timestamp + timedelta(seconds=taken.ttl):
        return "the job was not running at that time"
    return _why_not_running(progress, signer, uuid, offer, facts)


def _why_not_running(
    progress: ProgressReceipt | None, signer: str, uuid: str, offer: JobStarted, facts: ExcuseFacts
) -> str | None:
    if facts.is_over(signer, uuid):
        return "its validator says that the job is over"
    if facts.is_on_page(signer, uuid):
        return None
    if progress is None:
        return "neither a progress receipt nor its validator's own page shows that the job still runs"
    age_s = (facts.now - progress.payload.timestamp).total_seconds()
    if not 0 <= age_s <= _MOST_INTERVALS * facts.progress_interval_s:
        return "the newest progress receipt is too old"
    if progress.payload.miner_hotkey != offer.miner_hotkey or not facts.is_signed(progress):
        return "a receipt lacks one of its signatures"
    return None


def _by_job(shown: Iterable[Signed]) -> dict[tuple[str, str], _Job]:
    """The receipts of each job, the newest of its progress receipts; in the order shown."""
    jobs: dict[tuple[str, str], _Job] = {}
    for receipt in shown:
        payload: Statement = receipt.payload
        job = jobs.setdefault((payload.validator_hotkey, payload.job_uuid), _Job())
        if isinstance(receipt, ProgressReceipt):
            if job.progress is None or receipt.payload.timestamp > job.progress.payload.timestamp:
                job.progress = receipt
        elif isinstance(payload, JobStarted):
            job.started = job.started or receipt
        elif isinstance(payload, JobAccepted):
            job.accepted = job.accepted or receipt
    return jobs
