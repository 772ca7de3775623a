"""What other validators' receipts say of their jobs: which are over, and how fresh that knowledge is.

In memory, rebuilt on start from the stored receipts; bounded, and no signer takes the room of another.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from horde_agents.agents.validator.occupancy import Occupancy
from horde_agents.agents.validator.signer_books import SignerBooks
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobAccepted, JobFinished, JobStarted

#: Ended jobs that are remembered, and running ones, of all signers together.
_MOST_ENDED: Final = 500_000
_MOST_RUNNING: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Running:
    """A job that is not over: the miner that its first receipt names, and its accepted receipt once read."""

    miner_hotkey: str
    accepted: JobAccepted | None = None


@dataclass(slots=True)
class OthersJobs:
    """``occupancy`` counts their running jobs; a job is known by its validator and uuid together, because
    anybody may sign a receipt that names another's job."""

    occupancy: Occupancy = field(default_factory=Occupancy)
    most_ended: int = _MOST_ENDED
    most_running: int = _MOST_RUNNING
    _ended: SignerBooks[bool] = field(init=False)
    _running: SignerBooks[_Running] = field(init=False)
    _read_at: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ended = SignerBooks(self.most_ended)
        self._running = SignerBooks(self.most_running)

    def note(self, receipts: Iterable[Receipt]) -> None:
        """Take checked receipts of other validators into account, in any order."""
        for receipt in receipts:
            payload = receipt.payload
            key = (payload.validator_hotkey, payload.job_uuid)
            if isinstance(payload, JobFinished):
                self._free(key, self._running.pop(key))
                self._ended.put(key, True)
            elif key not in self._ended:
                self._run(key, payload)

    def accepted(self, validator_hotkey: str, job_uuid: str) -> JobAccepted | None:
        """The accepted receipt of a job that is not over, as read from its miner's pages."""
        running = self._running.get((validator_hotkey, job_uuid))
        return running.accepted if running else None

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

    def _run(self, key: tuple[str, str], payload: JobStarted | JobAccepted) -> None:
        known = self._running.get(key) or _Running(payload.miner_hotkey)
        if payload.miner_hotkey != known.miner_hotkey:
            return  # an attempt is at one miner; its signer contradicts itself
        accepted = payload if isinstance(payload, JobAccepted) else known.accepted
        forgotten = self._running.put(key, _Running(known.miner_hotkey, accepted))
        self.occupancy.note(payload.model_copy(update={"job_uuid": "/".join(key)}))
        if forgotten is not None:
            self._free(*forgotten)

    def _free(self, key: tuple[str, str], running: _Running | None) -> None:
        if running is not None:
            self.occupancy.free(running.miner_hotkey, "/".join(key))
