"""What other validators' receipts say of their jobs: which are over, and how fresh that knowledge is.

In memory, rebuilt on start from the stored receipts; bounded, the oldest are forgotten first.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from horde_agents.agents.validator.occupancy import Occupancy
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobAccepted, JobFinished

#: Ended jobs that are remembered.
_MOST_ENDED: Final = 500_000
#: Running jobs whose accepted receipt is at hand.
_MOST_RUNNING: Final = 100_000


@dataclass(slots=True)
class OthersJobs:
    """``occupancy`` counts their running jobs; a job is known by its validator and uuid together, because
    anybody may sign a receipt that names another's job."""

    occupancy: Occupancy = field(default_factory=Occupancy)
    _ended: dict[tuple[str, str], None] = field(default_factory=dict)
    _accepted: dict[tuple[str, str], JobAccepted] = field(default_factory=dict)
    _read_at: dict[str, datetime] = field(default_factory=dict)

    def note(self, receipts: Iterable[Receipt]) -> None:
        """Take checked receipts of other validators into account, in any order."""
        for receipt in receipts:
            payload = receipt.payload
            key = (payload.validator_hotkey, payload.job_uuid)
            if isinstance(payload, JobFinished):
                self._end(key)
            elif isinstance(payload, JobAccepted) and key not in self._ended:
                self._accepted[key] = payload
                if len(self._accepted) > _MOST_RUNNING:
                    del self._accepted[next(iter(self._accepted))]
            if key not in self._ended or isinstance(payload, JobFinished):
                self.occupancy.note(payload.model_copy(update={"job_uuid": "/".join(key)}))

    def accepted(self, validator_hotkey: str, job_uuid: str) -> JobAccepted | None:
        """The accepted receipt of a job that is not over, as read from its miner's pages."""
        return self._accepted.get((validator_hotkey, job_uuid))

    def page_read(self, validator_hotkey: str, at: datetime) -> None:
        """A validator's own pages were read to their end at this instant."""
        self._read_at[validator_hotkey] = at

    def is_running(self, validator_hotkey: str, job_uuid: str, since: datetime) -> bool:
        """Whether its validator's own pages, read after ``since``, do not say that the job is over."""
        read_at = self._read_at.get(validator_hotkey)
        return read_at is not None and read_at >= since and not self.is_over(validator_hotkey, job_uuid)

    def is_over(self, validator_hotkey: str, job_uuid: str) -> bool:
        """Whether its validator has signed that the job is over."""
        return (validator_hotkey, job_uuid) in self._ended

    def _end(self, key: tuple[str, str]) -> None:
        self._accepted.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
