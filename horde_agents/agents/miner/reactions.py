"""What the miner does when an attempt moves. Pure: returns effects, performs none."""

from dataclasses import dataclass
from typing import TypeAlias

from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.lifecycle import Moved


@dataclass(frozen=True, slots=True)
class TellValidator:
    """Relay the event to the validator's connection, and keep it for a later one."""

    event: JobEvent


@dataclass(frozen=True, slots=True)
class StoreNow:
    """Wait until the event is on disk before anything else is said."""


@dataclass(frozen=True, slots=True)
class StoreBehind:
    """Store the event in order, without waiting: the final report repairs a loss."""


@dataclass(frozen=True, slots=True)
class FreeSlot:
    """Acknowledge the executor's final report, end the lease, give the slot back."""


Effect: TypeAlias = TellValidator | StoreNow | StoreBehind | FreeSlot


def react(step: Moved, event: JobEvent) -> tuple[Effect, ...]:
    """Plan the effects of ``event``, which has just moved the attempt."""
    if step.job.state.is_final:
        return StoreNow(), FreeSlot(), TellValidator(event)
    return StoreBehind(), TellValidator(event)
