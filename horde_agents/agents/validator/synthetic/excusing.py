"""Which declines of a batch are excused: each receipt once, and no more than its signer's share of stake."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from horde_agents.agents.validator.excuses import believed
from horde_agents.agents.validator.parts import Parts
from horde_agents.protocol.validator_miner import SignedReceipt
from horde_agents.receipts.payloads import JobStarted


@dataclass(slots=True)
class Excusing:
    """The excuses used in one batch; ``offered`` are executors by class, by miner."""

    parts: Parts
    offered: Mapping[str, Mapping[str, int]]
    minimum_stake_tao: int
    used: set[str] = field(default_factory=set)
    _by_signer: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def excuse(self, offer: JobStarted, shown: Iterable[SignedReceipt]) -> str:
        """The uuid of the job that excuses a decline, and that excuses no other; empty when none does."""
        for receipt in believed(self.parts, offer, tuple(shown), self.minimum_stake_tao):
            payload = receipt.payload
            key = (payload.validator_hotkey, offer.miner_hotkey, offer.executor_class)
            if payload.job_uuid in self.used or self._by_signer[key] >= self._most(*key):
                continue
            self.used.add(payload.job_uuid)
            self._by_signer[key] += 1
            return payload.job_uuid
        return ""

    def _most(self, signer: str, miner: str, executor_class: str) -> int:
        """Executors of a miner that a signer can excuse: its share of all validators' stake, rounded up."""
        stakes = self.parts.directory.stake_rao
        share = Fraction(stakes.get(signer, 0), max(sum(stakes.values()), 1))
        return -int(-share * self.offered.get(miner, {}).get(executor_class, 0) // 1)
