"""What the validator's parts share, built once by ``app.py``, and the live jobs they work on."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random, SystemRandom
from typing import Any, Final, TypeAlias

import aiohttp

from horde_agents.agents.validator.directory import Directory
from horde_agents.agents.validator.gate import Gate
from horde_agents.agents.validator.manifests import Manifests
from horde_agents.agents.validator.metrics import Metrics
from horde_agents.agents.validator.occupancy import Occupancy
from horde_agents.agents.validator.others_jobs import OthersJobs
from horde_agents.agents.validator.prices import Prices
from horde_agents.agents.validator.reactions import Plan
from horde_agents.agents.validator.records import Change
from horde_agents.agents.validator.reliability import Reliability
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.agents.validator.shares import OwnShares
from horde_agents.agents.validator.status_outbox import StatusOutbox
from horde_agents.agents.validator.waiting import WaitingRoom
from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.lifecycle import Ignored, Job, advance
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.frames import render
from horde_agents.protocol.signing import Hotkey, Signer
from horde_agents.protocol.status_updates import status_update
from horde_agents.runtime.clock import monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.configuration import Configuration
from horde_agents.store.engine import Store

#: Seconds between progress receipts where no configuration says otherwise.
_PROGRESS_INTERVAL_S: Final = float(Configuration().progress_interval_s)

Listener: TypeAlias = Callable[[JobEvent], None]

_log = get_logger(__name__)


@dataclass(slots=True)
class Parts:
    """The shared parts; ``outboxes`` are by facilitator address; ``attempts_in_hand`` have a session;
    ``announced`` are the extensions that miners said they know.

    ``run_trusted`` runs a job of our own at the trusted miner: why it failed; empty when it has completed.
    ``knobs`` gives the dynamic configuration in force.
    ``occupancy`` is by our own receipts, ``others_jobs`` by those of other validators.
    """

    settings: ValidatorSettings
    store: Store
    signer: Signer
    http: aiohttp.ClientSession
    directory: Directory
    manifests: Manifests
    reliability: Reliability
    waiting: WaitingRoom
    shares: OwnShares
    occupancy: Occupancy = field(default_factory=Occupancy)
    others_jobs: OthersJobs = field(default_factory=OthersJobs)
    prices: Prices = field(default_factory=Prices)
    metrics: Metrics = field(default_factory=Metrics)
    knobs: Callable[[], Configuration] = Configuration
    outboxes: dict[str, StatusOutbox] = field(default_factory=dict)
    attempts_in_hand: set[str] = field(default_factory=set)
    announced: dict[str, frozenset[Extension]] = field(default_factory=dict)
    cycle_number: Callable[[], int] = lambda: 0
    progress_interval_s: Callable[[], float] = lambda: _PROGRESS_INTERVAL_S
    run_trusted: Callable[[Mapping[str, Any]], Awaitable[str]] | None = None
    rng: Random = field(default_factory=SystemRandom)

    @property
    def others_occupancy(self) -> Occupancy:
        """Executors that other validators' receipts show occupied."""
        return self.others_jobs.occupancy


@dataclass(slots=True)
class LiveJob:
    """A job that this process works on; ``miner_hotkey`` is set when its user wants that one alone.

    ``classes`` are all that will do, ``request`` and ``plan`` are of the one that is being tried.
    ``again_at_s`` says (monotonic) when a miner that was tried may be tried again. A job with a ``gate`` is
    synthetic: it is in no job's table, and its payload waits for the others of its batch.
    """

    request: V2JobRequest
    plan: Plan
    source: str
    received_at: datetime
    job: Job
    miner_hotkey: Hotkey | None = None
    listener: Listener | None = None
    tried: set[str] = field(default_factory=set)
    again_at_s: dict[str, float] = field(default_factory=dict)
    gate: Gate | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.classes = self.classes or self.request.classes

    @property
    def is_organic(self) -> bool:
        """Whether a user wants it."""
        return self.gate is None

    @property
    def waits_until(self) -> datetime:
        """Until when the job may wait for capacity; in the past for one that does not wait."""
        return self.received_at + timedelta(seconds=self.request.horde_wait_s)

    @property
    def may_wait(self) -> bool:
        """Whether its user lets it wait, and still does."""
        return self.request.horde_wait_s > 0 and now() < self.waits_until

    @property
    def given_up(self) -> frozenset[str]:
        """The miners that are not to be tried, or not yet."""
        at_s = monotonic_s()
        return frozenset(hotkey for hotkey in self.tried if at_s < self.again_at_s.get(hotkey, math.inf))

    def turn_to(self, executor_class: str, plan_of: Callable[[V2JobRequest], Plan]) -> None:
        """Offer the job as one of this class from now on."""
        if executor_class != self.request.executor_class:
            self.request = self.request.model_copy(update={"executor_class": executor_class})
            self.plan = plan_of(self.request)

    @property
    def uuid(self) -> str:
        """The user's name for the job."""
        return self.job.uuid

    @property
    def is_over(self) -> bool:
        """True when the user has, or is about to have, a final state."""
        return self.job.state.is_final

    @property
    def was_forwarded(self) -> bool:
        """Whether the user has been told that a miner took the job."""
        return self.job.state.value not in {"sent", "received"}

    def take(self, event: JobEvent, change: Change) -> None:
        """Move the job by an event of its attempt; if it moves, ``change`` says so from now on."""
        step = advance(self.job, event)
        if isinstance(step, Ignored):
            _log.info("event changes nothing", job=self.uuid, kind=type(event).__name__, why=step.why)
            return
        self.job = step.job
        if not self.is_organic:
            return
        change.job = step.job
        change.update_json = render(status_update(event, self.uuid))
