"""The receipts of attempts that still run, at hand for declines; in memory, rebuilt on start."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import JobAccepted, JobStarted

#: Jobs that one decline shows at most: a frame has room for their three receipts each.
_MOST_SHOWN: Final = 64


@dataclass(slots=True)
class _Job:
    started: Receipt
    accepted: Receipt | None = None
    progress: ProgressReceipt | None = None


@dataclass(slots=True)
class OpenJobs:
    """Attempts without a finished receipt, by uuid."""

    _jobs: dict[str, _Job] = field(default_factory=dict)

    def started(self, receipt: Receipt) -> None:
        """An attempt begins."""
        self._jobs[receipt.payload.job_uuid] = _Job(receipt)

    def accepted(self, receipt: Receipt) -> None:
        """It has its executor."""
        if (job := self._jobs.get(receipt.payload.job_uuid)) is not None:
            job.accepted = receipt

    def progressed(self, receipt: ProgressReceipt) -> None:
        """It still runs; a receipt that comes late does not replace a newer one."""
        job = self._jobs.get(receipt.payload.job_uuid)
        if job is None:
            return
        if job.progress is None or job.progress.payload.sequence < receipt.payload.sequence:
            job.progress = receipt

    def finished(self, job_uuid: str) -> None:
        """It is over."""
        self._jobs.pop(job_uuid, None)

    def shown(self, offer: JobStarted, now: datetime) -> Iterator[Receipt | ProgressReceipt]:
        """What proves that other validators' users keep the class busy."""
        for uuid in [uuid for uuid, job in self._jobs.items() if _until(job) < now]:
            del self._jobs[uuid]
        running = (job for job in self._jobs.values() if _is_excuse(job, offer))
        for job in islice(running, _MOST_SHOWN):
            yield job.started
            if job.accepted is not None:
                yield job.accepted
            if job.progress is not None:
                yield job.progress


def _is_excuse(job: _Job, offer: JobStarted) -> bool:
    payload = job.started.payload
    assert isinstance(payload, JobStarted)
    return (
        payload.is_organic
        and payload.executor_class == offer.executor_class
        and payload.validator_hotkey != offer.validator_hotkey
    )


def _until(job: _Job) -> datetime:
    return max(_ends(job.started), _ends(job.accepted or job.started))


def _ends(receipt: Receipt) -> datetime:
    payload = receipt.payload
    assert isinstance(payload, JobStarted | JobAccepted)
    return payload.timestamp + timedelta(seconds=payload.ttl)
