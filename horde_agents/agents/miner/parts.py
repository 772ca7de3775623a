"""What the miner's rooms share; built once by ``app``."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from horde_agents.agents.miner.chain_facts import ChainFacts
from horde_agents.agents.miner.placed.metrics import PlacementMetrics
from horde_agents.agents.miner.placed.shared import SharedPlacement
from horde_agents.agents.miner.receipt_book import ReceiptBook
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.miner.shares import Shares
from horde_agents.agents.miner.slots import Slots
from horde_agents.protocol.signing import Hotkey, Signer
from horde_agents.runtime.supervisor import Supervisor
from horde_agents.store.engine import Store


class MinerMetrics:
    """What the miner counts; names are documented in docs/operate/reference.md."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.attempts = Counter(
            "horde_miner_attempts", "Attempts that ended, by final state", ["outcome"], registry=self.registry
        )
        self.declines = Counter(
            "horde_miner_declines", "Offers declined, by reason", ["reason"], registry=self.registry
        )
        self.answer_s = Histogram(
            "horde_miner_answer_seconds", "Seconds from an offer to accept or decline", registry=self.registry
        )
        self.receipts = Counter(
            "horde_miner_receipts", "Receipts stored, by type", ["type"], registry=self.registry
        )
        self.slots_idle = Gauge(
            "horde_miner_slots_idle", "Executors connected and idle", registry=self.registry
        )
        self.slots_busy = Gauge(
            "horde_miner_slots_busy", "Slots with a running attempt", registry=self.registry
        )
        self.placement = PlacementMetrics()
        self.registry.register(self.placement)


@dataclass(slots=True)
class MinerParts:
    """The miner's tools."""

    settings: MinerSettings
    signer: Signer
    store: Store
    supervisor: Supervisor
    book: ReceiptBook
    slots: Slots
    metrics: MinerMetrics = field(default_factory=MinerMetrics)
    facts: ChainFacts = field(default_factory=ChainFacts)
    shared: SharedPlacement | None = None
    shares: Shares = field(init=False)

    def __post_init__(self) -> None:
        self.shares = Shares(self.settings, self.facts)

    def main_hotkey(self) -> str:
        """The horde's main hotkey; a miner on its own is its own."""
        return (self.shared.main_hotkey() if self.shared else None) or self.signer.hotkey

    @property
    def wire_hotkey(self) -> Hotkey:
        """The name by which validators address this miner."""
        return self.book.wire_hotkey

    def lease_changed(self, slot_id: str, job_uuid: str) -> None:
        """A lease began, or ended (empty uuid); the horde hears of it behind."""
        if self.shared is None:
            return
        if job_uuid:
            self.shared.marks.leased(slot_id, job_uuid)
        else:
            self.shared.marks.over(slot_id)
