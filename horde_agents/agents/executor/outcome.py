"""How a stage ends a job early: an exception that carries the event to report."""

from typing import Any

from horde_agents.jobs.events import HordeFailed, JobFailed
from horde_agents.jobs.faults import Cause, HordeFaultReason, JobFaultReason, Stage
from horde_agents.jobs.states import Role


class StageFailed(Exception):
    """The job cannot go on; ``event`` says who is at fault and why."""

    def __init__(self, event: JobFailed | HordeFailed) -> None:
        super().__init__(event.message)
        self.event = event


def job_fault(
    reason: JobFaultReason,
    stage: Stage,
    message: str,
    cause: Cause | None = None,
    **context: Any,  # noqa: ANN401
) -> StageFailed:
    """The user's image, data, command or limits are at fault."""
    known = {"cause": cause.value, **context} if cause else context
    return StageFailed(JobFailed(Role.EXECUTOR, reason, stage, message, context=known))


def horde_fault(reason: HordeFaultReason, message: str, cause: Cause | None = None) -> StageFailed:
    """This node is at fault."""
    return StageFailed(HordeFailed(Role.EXECUTOR, reason, message, {"cause": cause.value} if cause else {}))
