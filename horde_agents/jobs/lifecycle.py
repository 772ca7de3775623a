"""One job's life as a pure state machine, the same for all four agents.

``advance`` takes a job and an event and returns the next job, or says why nothing changed. It does
no I/O and reads no clock, so every agent replays the same history to the same state. What an agent
*does* about a step lives in its own ``reactions`` module. The table is printed in
docs/job-lifecycle.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from horde_agents.jobs.events import (
    Accepted,
    Cancelled,
    Declined,
    ExecutionDone,
    ExecutorReady,
    Expired,
    Finished,
    HordeFailed,
    JobEvent,
    JobFailed,
    Received,
    StreamingReady,
    VolumesReady,
)
from horde_agents.jobs.states import MILESTONES, JobState, Role


@dataclass(frozen=True, slots=True)
class Rule:
    """Where an event leads and who may report it."""

    target: JobState
    authority: frozenset[Role]


_MINER_SIDE = frozenset({Role.MINER, Role.EXECUTOR})
_VALIDATOR = frozenset({Role.VALIDATOR})

RULES: Final[Mapping[type[JobEvent], Rule]] = {
    Received: Rule(JobState.RECEIVED, _VALIDATOR),
    Accepted: Rule(JobState.ACCEPTED, frozenset({Role.MINER})),
    ExecutorReady: Rule(JobState.EXECUTOR_READY, _MINER_SIDE),
    VolumesReady: Rule(JobState.VOLUMES_READY, _MINER_SIDE),
    StreamingReady: Rule(JobState.STREAMING_READY, _MINER_SIDE),
    ExecutionDone: Rule(JobState.EXECUTION_DONE, _MINER_SIDE),
    Finished: Rule(JobState.COMPLETED, _MINER_SIDE),
    Declined: Rule(JobState.REJECTED, frozenset({Role.VALIDATOR, Role.MINER})),
    JobFailed: Rule(JobState.FAILED, _MINER_SIDE),
    HordeFailed: Rule(JobState.HORDE_FAILED, frozenset(Role)),
    Expired: Rule(JobState.FAILED, frozenset({Role.FACILITATOR, Role.VALIDATOR})),
    Cancelled: Rule(JobState.FAILED, frozenset({Role.SDK, Role.FACILITATOR, Role.VALIDATOR})),
}


@dataclass(frozen=True, slots=True)
class Job:
    """The part of a job (or attempt) that the state machine owns; ``history`` is append-only."""

    uuid: str
    state: JobState = JobState.SENT
    history: tuple[JobEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """The job changed; ``job`` is its new value."""

    job: Job


@dataclass(frozen=True, slots=True)
class Ignored:
    """A duplicate or a latecomer: harmless, kept for the log."""

    why: str


class NotAuthorised(Exception):
    """An agent reported something that is not its to report."""

    def __init__(self, job: Job, event: JobEvent) -> None:
        super().__init__(f"{event.origin} may not report {type(event).__name__} for job {job.uuid}")
        self.job = job
        self.event = event


def advance(job: Job, event: JobEvent) -> Moved | Ignored:
    """Apply ``event`` to ``job``.

    Raises:
        NotAuthorised: ``event.origin`` may not report this kind of event.
    """
    rule = RULES[type(event)]
    if event.origin not in rule.authority:
        raise NotAuthorised(job, event)
    if job.state.is_final:
        return Ignored(f"job already {job.state}")
    if not rule.target.is_final and MILESTONES.index(rule.target) <= MILESTONES.index(job.state):
        return Ignored(f"{rule.target} already passed")
    return Moved(replace(job, state=rule.target, history=(*job.history, event)))


def replay(uuid: str, history: Iterable[JobEvent]) -> Job:
    """The job that ``history`` leads to; events that change nothing are left out of it."""
    job = Job(uuid)
    for event in history:
        step = advance(job, event)
        if isinstance(step, Moved):
            job = step.job
    return job


def blamed(event: JobEvent) -> Role | None:
    """Who in the horde pays for ``event``; ``None`` when nobody does.

    The user's own failures are nobody's fault, and what one agent says of itself is taken as is:
    a horde fault told by the facilitator never counts against a miner. An executor is its miner's.
    """
    if not isinstance(event, HordeFailed):
        return None
    return Role.MINER if event.origin is Role.EXECUTOR else event.origin
