"""What the validator's parts share, built once by ``app.py``, and the live jobs they work on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random, SystemRandom
from typing import TypeAlias

import aiohttp

from horde_agents.agents.validator.directory import Directory
from horde_agents.agents.validator.manifests import Manifests
from horde_agents.agents.validator.metrics import Metrics
from horde_agents.agents.validator.occupancy import Occupancy
from horde_agents.agents.validator.reactions import Plan
from horde_agents.agents.validator.records import Change
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.agents.validator.status_outbox import StatusOutbox
from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.lifecycle import Ignored, Job, advance
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.frames import render
from horde_agents.protocol.signing import Hotkey, Signer
from horde_agents.protocol.status_updates import status_update
from horde_agents.runtime.logs import get_logger
from horde_agents.store.engine import Store

Listener: TypeAlias = Callable[[JobEvent], None]

_log = get_logger(__name__)


@dataclass(slots=True)
class Parts:
    """The shared parts; ``outboxes`` are by facilitator address; ``attempts_in_hand`` have a session."""

    settings: ValidatorSettings
    store: Store
    signer: Signer
    http: aiohttp.ClientSession
    directory: Directory
    manifests: Manifests
    occupancy: Occupancy = field(default_factory=Occupancy)
    metrics: Metrics = field(default_factory=Metrics)
    outboxes: dict[str, StatusOutbox] = field(default_factory=dict)
    attempts_in_hand: set[str] = field(default_factory=set)
    rng: Random = field(default_factory=SystemRandom)


@dataclass(slots=True)
class LiveJob:
    """A job that this process works on; ``miner_hotkey`` is set when its user wants that one alone."""

    request: V2JobRequest
    plan: Plan
    source: str
    received_at: datetime
    job: Job
    miner_hotkey: Hotkey | None = None
    listener: Listener | None = None
    tried: set[str] = field(default_factory=set)

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
        self.job = change.job = step.job
        change.update_json = render(status_update(event, self.uuid))
