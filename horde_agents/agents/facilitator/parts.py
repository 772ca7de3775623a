"""What the facilitator's rooms share; built once by ``app``."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.agents.facilitator.watchers import Watchers
from horde_agents.runtime.supervisor import Supervisor
from horde_agents.store.engine import Store


class FacilitatorMetrics:
    """What the facilitator counts; names are documented in docs/operate/reference.md."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.submitted = Counter("horde_facilitator_jobs_submitted", "Jobs stored", registry=self.registry)
        self.ended = Counter(
            "horde_facilitator_jobs_ended", "Jobs by final state", ["state"], registry=self.registry
        )
        self.refused = Counter(
            "horde_facilitator_refusals", "Refused requests by code", ["code"], registry=self.registry
        )
        self.submit_s = Histogram(
            "horde_facilitator_submit_seconds",
            "Seconds from a request to its stored job",
            registry=self.registry,
        )
        self.links = Gauge(
            "horde_facilitator_validator_links", "Live validator links", registry=self.registry
        )


@dataclass(slots=True)
class FacilitatorParts:
    """The facilitator's tools."""

    settings: FacilitatorSettings
    store: Store
    supervisor: Supervisor
    watchers: Watchers = field(default_factory=Watchers)
    metrics: FacilitatorMetrics = field(default_factory=FacilitatorMetrics)
