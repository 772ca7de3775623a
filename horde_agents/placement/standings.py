"""What Nomad says of a holder, and what it means for us: one table for allocations and evaluations.

Nomad's ``complete`` is success only with exit code 0 and desired status ``run``: a drained or timed-out
allocation is ``complete`` too (cluster note 6, bundle note 4.1).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from horde_agents.jobs.faults import HordeFaultReason


class Standing(StrEnum):
    """Where a holder is in its life."""

    QUEUED = "queued"  # dispatched, not yet evaluated
    SHORT = "short"  # Nomad has no free device, or no node, for it; it waits
    STARTING = "starting"  # placed, not yet running
    RUNNING = "running"
    UNKNOWN = "unknown"  # its node is disconnected; it may run on and come back
    RECYCLED = "recycled"  # ended by itself, well
    STOPPED = "stopped"  # by us or by an operator
    DRAINED = "drained"  # its node is drained
    EVICTED = "evicted"  # preempted by another job
    TIMED_OUT = "timed_out"  # over its max_run_duration
    FAILED = "failed"
    LOST = "lost"  # with its node


@dataclass(frozen=True, slots=True)
class Meaning:
    """What follows from a standing.

    ``keeps_slot``: its devices are not free. ``ended``: the keeper replaces it. ``fault``: what an attempt
    on it ends with at once, without waiting for the executor to come back; none where it may still report.
    """

    keeps_slot: bool
    ended: bool
    fault: HordeFaultReason | None = None
    says: str = ""


_GONE: Final = HordeFaultReason.EXECUTOR_DISCONNECTED


def _over(says: str, fault: HordeFaultReason = _GONE) -> Meaning:
    return Meaning(keeps_slot=False, ended=True, fault=fault, says=says)


MEANINGS: Final[dict[Standing, Meaning]] = {
    Standing.QUEUED: Meaning(keeps_slot=False, ended=False),
    Standing.SHORT: Meaning(
        keeps_slot=False,
        ended=False,
        fault=HordeFaultReason.EXECUTOR_SPINUP_FAILED,
        says="Nomad has no place for it",
    ),
    Standing.STARTING: Meaning(keeps_slot=True, ended=False),
    Standing.RUNNING: Meaning(keeps_slot=True, ended=False),
    Standing.UNKNOWN: Meaning(keeps_slot=True, ended=False),
    Standing.RECYCLED: Meaning(keeps_slot=False, ended=True),
    Standing.STOPPED: _over("its holder was stopped"),
    Standing.DRAINED: _over("its node was drained"),
    Standing.EVICTED: _over("its holder was evicted"),
    Standing.TIMED_OUT: _over("its holder ran too long", HordeFaultReason.EXECUTION_TIMED_OUT),
    Standing.FAILED: _over("its holder failed"),
    Standing.LOST: _over("its node was lost"),
}

#: Nomad's words (bundle note 4.5).
_CALLED_BACK: Final = {"stop": Standing.STOPPED, "evict": Standing.EVICTED}
_TIMEOUT_WORDS: Final = "exceeded max_run_duration"
_DRAIN_WORDS: Final = "migrated"


@dataclass(frozen=True, slots=True)
class AllocationFacts:
    """What Nomad says of one allocation; ``exit_code`` is the holder task's, once it has ended."""

    client_status: str
    desired_status: str
    description: str = ""
    exit_code: int | None = None


def allocation_standing(facts: AllocationFacts) -> Standing:
    """The standing of a holder that has an allocation."""
    match facts.client_status:
        case "pending":
            return _CALLED_BACK.get(facts.desired_status, Standing.STARTING)
        case "running":
            return Standing.RUNNING
        case "unknown":
            return Standing.UNKNOWN
        case "lost":
            return Standing.LOST
        case "failed":
            return Standing.FAILED
        case "complete":
            return _ended(facts)
        case _:
            return Standing.UNKNOWN  # a word of a newer Nomad: wait rather than start a second one


def _ended(facts: AllocationFacts) -> Standing:
    if _TIMEOUT_WORDS in facts.description:
        return Standing.TIMED_OUT
    if facts.desired_status == "evict":
        return Standing.EVICTED
    if facts.desired_status == "stop":
        return Standing.DRAINED if _DRAIN_WORDS in facts.description else Standing.STOPPED
    return Standing.RECYCLED if facts.exit_code == 0 else Standing.FAILED


def child_standing(
    allocation: AllocationFacts | None, *, stopped: bool, dead: bool, blocked: bool
) -> Standing:
    """The standing of a dispatched job: by its newest allocation, else by its evaluation."""
    if allocation is not None:
        return allocation_standing(allocation)
    if stopped or dead:
        return Standing.STOPPED
    return Standing.SHORT if blocked else Standing.QUEUED
