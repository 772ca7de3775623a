"""Which attempts of ours occupy which miners now, by our own receipts; in memory, rebuilt on start."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from horde_agents.receipts.ledger import busy_count
from horde_agents.receipts.payloads import JobFinished, Payload


@dataclass(slots=True)
class Occupancy:
    """Receipts of unfinished attempts, by miner and attempt."""

    _open: dict[str, dict[str, list[Payload]]] = field(default_factory=dict)

    def note(self, payload: Payload) -> None:
        """Take a receipt into account; a finished one frees its executor."""
        attempts = self._open.setdefault(payload.miner_hotkey, {})
        if isinstance(payload, JobFinished):
            attempts.pop(payload.job_uuid, None)
            return
        known = attempts.setdefault(payload.job_uuid, [])
        known[:] = [other for other in known if other.receipt_type is not payload.receipt_type] + [payload]

    def free(self, miner_hotkey: str, attempt_uuid: str) -> None:
        """The attempt is over, whether or not a receipt says so."""
        self._open.get(miner_hotkey, {}).pop(attempt_uuid, None)

    def busy(
        self, miners: Iterable[str], executor_class: str, now: datetime, *, without: str = ""
    ) -> dict[str, int]:
        """Occupied executors of the class by miner, the attempt ``without`` left out."""
        return {hotkey: busy_count(self._payloads(hotkey, without), executor_class, now) for hotkey in miners}

    def _payloads(self, hotkey: str, without: str) -> Iterable[Payload]:
        for uuid, payloads in self._open.get(hotkey, {}).items():
            if uuid != without:
                yield from payloads
