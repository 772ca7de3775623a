"""What the facilitator does when a job moves. Pure: returns effects, performs none."""

from dataclasses import dataclass
from typing import TypeAlias

from horde_agents.jobs.lifecycle import Moved
from horde_agents.jobs.states import JobState


@dataclass(frozen=True, slots=True)
class TellFollowers:
    """Send the new status to every open event stream of the job."""


@dataclass(frozen=True, slots=True)
class CountEnd:
    """Count a final state."""

    state: JobState


Effect: TypeAlias = TellFollowers | CountEnd


def react(step: Moved) -> tuple[Effect, ...]:
    """Plan the effects of a step that is already on disk."""
    state = step.job.state
    return (TellFollowers(), CountEnd(state)) if state.is_final else (TellFollowers(),)
