"""What the validator counts for Prometheus."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_STAGE_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)


@dataclass(slots=True)
class Metrics:
    """One registry an agent, so that several can live in one process."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    attempts: Counter = field(init=False)
    stage_seconds: Histogram = field(init=False)
    open_jobs: Gauge = field(init=False)
    waiting_jobs: Gauge = field(init=False)
    comparisons: Counter = field(init=False)
    outbox_messages: Gauge = field(init=False)
    configuration_version: Gauge = field(init=False)
    configuration_refusals: Counter = field(init=False)
    synthetic_jobs: Counter = field(init=False)
    batch_coverage: Gauge = field(init=False)
    page_fetches: Counter = field(init=False)
    synced_receipts: Counter = field(init=False)
    weights_waiting: Gauge = field(init=False)

    def __post_init__(self) -> None:
        self._count_jobs()
        self._count_facts()

    def _count_jobs(self) -> None:
        self.attempts = Counter(
            "horde_validator_attempts",
            "Attempts that have ended.",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "horde_validator_stage_seconds",
            "Time from one state of an attempt to the next.",
            ["reached"],
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self.open_jobs = Gauge(
            "horde_validator_open_jobs", "Jobs without a final state.", registry=self.registry
        )
        self.waiting_jobs = Gauge(
            "horde_validator_waiting_jobs", "Jobs that wait for a free executor.", registry=self.registry
        )
        self.comparisons = Counter(
            "horde_validator_comparisons",
            "Results that were compared with those of other miners, samples and cheat reports.",
            ["reason", "outcome"],
            registry=self.registry,
        )
        self.outbox_messages = Gauge(
            "horde_validator_outbox_messages",
            "Status updates that a facilitator has not acknowledged.",
            ["facilitator"],
            registry=self.registry,
        )
        self.synthetic_jobs = Counter(
            "horde_validator_synthetic_jobs",
            "Synthetic jobs that have a verdict.",
            ["executor_class", "outcome"],
            registry=self.registry,
        )
        self.batch_coverage = Gauge(
            "horde_validator_batch_coverage",
            "Miners that told what they offer for the last batch, as a part of all known ones.",
            registry=self.registry,
        )

    def _count_facts(self) -> None:
        self.configuration_version = Gauge(
            "horde_validator_configuration_version",
            "Version of the dynamic configuration in force; 0 has all defaults.",
            registry=self.registry,
        )
        self.configuration_refusals = Counter(
            "horde_validator_configuration_refusals",
            "Looks at the dynamic configuration that found none, or one that does not apply.",
            registry=self.registry,
        )
        self.page_fetches = Counter(
            "horde_validator_page_fetches",
            "Fetches of peers' receipt pages, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.synced_receipts = Counter(
            "horde_validator_synced_receipts",
            "Receipts read from peers' pages: believed, or why not.",
            ["outcome"],
            registry=self.registry,
        )
        self.weights_waiting = Gauge(
            "horde_validator_weights_waiting_seconds",
            "Seconds since weights were stored that the chain does not have yet; 0 when it has all.",
            registry=self.registry,
        )
