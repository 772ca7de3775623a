"""Progress receipts of one running attempt: when the next is due, and its signature."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from horde_agents.agents.validator.offers import AttemptKey
from horde_agents.protocol.signing import Signer, to_hex
from horde_agents.receipts.ledger import ProgressReceipt
from horde_agents.receipts.payloads import JobProgress, signed_text
from horde_agents.runtime.clock import monotonic_s


@dataclass(slots=True)
class Progress:
    """How many receipts were signed, and when the last was (monotonic)."""

    sequence: int = 0
    signed_at_s: float | None = None

    @classmethod
    def resumed(cls, signed: Sequence[ProgressReceipt], now: datetime) -> "Progress":
        """After a restart: the sequence goes on where the stored receipts end."""
        if not signed:
            return cls()
        last = signed[-1].payload
        return cls(last.sequence, monotonic_s() - (now - last.timestamp).total_seconds())

    def is_due(self, at_s: float, interval_s: float, ran_s: float) -> bool:
        """Whether an interval has passed since the last receipt, or since the job was sent."""
        since_s = ran_s if self.signed_at_s is None else at_s - self.signed_at_s
        return since_s >= interval_s

    def sign(self, key: AttemptKey, run_us: int, signer: Signer, at: datetime) -> ProgressReceipt:
        """The next receipt."""
        self.sequence += 1
        self.signed_at_s = monotonic_s()
        payload = JobProgress(
            job_uuid=key.uuid,
            miner_hotkey=key.miner_hotkey,
            validator_hotkey=signer.hotkey,
            timestamp=at,
            sequence=self.sequence,
            run_us=run_us,
        )
        return ProgressReceipt(payload, to_hex(signer.sign(signed_text(payload))))
