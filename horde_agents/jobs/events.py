"""What can happen to a job, as told by ``origin``; the only vocabulary of job histories.

Events are plain data. ``event_to_json`` and ``event_from_json`` are the stored form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, get_args

from pydantic import TypeAdapter

from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason, RejectionReason, Stage
from horde_agents.jobs.states import Role

Context: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""

    origin: Role


@dataclass(frozen=True, slots=True)
class Received(Event):
    """The validator has stored the job and is looking for a miner."""


@dataclass(frozen=True, slots=True)
class Accepted(Event):
    """A miner has leased a slot for the job."""


@dataclass(frozen=True, slots=True)
class ExecutorReady(Event):
    """The executor has the image and waits for the command."""


@dataclass(frozen=True, slots=True)
class VolumesReady(Event):
    """All input volumes are in place."""


@dataclass(frozen=True, slots=True)
class StreamingReady(Event):
    """The job's server answers; ``certificate`` is PEM."""

    certificate: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ExecutionDone(Event):
    """The container has ended with exit code 0."""


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The job is complete.

    ``artifacts`` maps a path in the container to base64 text; ``upload_results`` maps a relative
    path to JSON text ``{"headers": {...}, "body": "..."}`` (wire note F.2.6).
    """

    stdout: str = ""
    stderr: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)
    upload_results: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Declined(Event):
    """Nobody took the job."""

    reason: RejectionReason = RejectionReason.UNKNOWN
    message: str = ""
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobFailed(Event):
    """The user's job is at fault: non-zero exit, bad volume, over its time."""

    reason: JobFaultReason = JobFaultReason.UNKNOWN
    stage: Stage = Stage.UNKNOWN
    message: str = ""
    exit_status: int | None = None
    stdout: str | None = None
    stderr: str | None = None
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HordeFailed(Event):
    """The horde is at fault: lost executor, silent peer, broken host."""

    reason: HordeFaultReason = HordeFaultReason.UNKNOWN
    message: str = ""
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expired(Event):
    """The job's whole budget passed without a final report."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """The user took the job back."""

    message: str = ""


JobEvent: TypeAlias = (
    Received
    | Accepted
    | ExecutorReady
    | VolumesReady
    | StreamingReady
    | ExecutionDone
    | Finished
    | Declined
    | JobFailed
    | HordeFailed
    | Expired
    | Cancelled
)

EVENT_KINDS: Final[Mapping[str, type[JobEvent]]] = {kind.__name__: kind for kind in get_args(JobEvent)}
_ADAPTERS: Final = {name: TypeAdapter(kind) for name, kind in EVENT_KINDS.items()}


def kind_of_type(kind: type[JobEvent]) -> str:
    """The stored name of a kind of event."""
    return kind.__name__


def kind_of(event: JobEvent) -> str:
    """The event's stored name, e.g. ``"Accepted"``."""
    return kind_of_type(type(event))


def event_to_json(event: JobEvent) -> str:
    """Render ``event``, without its kind, as JSON text."""
    return _ADAPTERS[kind_of(event)].dump_json(event).decode()


def event_from_json(kind: str, payload: str) -> JobEvent:
    """Read back what ``event_to_json`` wrote.

    Raises:
        KeyError: ``kind`` is no event of this version.
        pydantic.ValidationError: the payload is not of that kind.
    """
    event: JobEvent = _ADAPTERS[kind].validate_json(payload)
    return event
