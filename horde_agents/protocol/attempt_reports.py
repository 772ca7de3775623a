"""Turns frames about an attempt into lifecycle events, and back. Pure."""

from typing import TypeAlias

from horde_agents.jobs import events
from horde_agents.jobs.faults import Cause, HordeFaultReason, JobFaultReason
from horde_agents.jobs.states import Role
from horde_agents.protocol import job_frames as frames

Report: TypeAlias = (
    frames.V0ExecutorReadyRequest
    | frames.V0VolumesReadyRequest
    | frames.V0StreamingJobReadyRequest
    | frames.V0ExecutionDoneRequest
    | frames.V0JobFinishedRequest
    | frames.V0JobFailedRequest
    | frames.V0HordeFailedRequest
)


def event_of(report: Report, origin: Role) -> events.JobEvent:
    """What ``report`` says happened, as told by ``origin``."""
    match report:
        case frames.V0ExecutorReadyRequest():
            return events.ExecutorReady(origin)
        case frames.V0VolumesReadyRequest():
            return events.VolumesReady(origin)
        case frames.V0StreamingJobReadyRequest():
            return events.StreamingReady(origin, report.public_key, report.ip or "", report.port)
        case frames.V0ExecutionDoneRequest():
            return events.ExecutionDone(origin)
        case frames.V0JobFinishedRequest():
            return events.Finished(
                origin,
                report.docker_process_stdout,
                report.docker_process_stderr,
                report.artifacts or {},
                report.upload_results or {},
            )
        case frames.V0JobFailedRequest():
            return events.JobFailed(
                origin,
                report.reason,
                report.stage,
                report.message,
                report.docker_process_exit_status,
                report.docker_process_stdout,
                report.docker_process_stderr,
                report.context or {},
            )
        case frames.V0HordeFailedRequest():
            return events.HordeFailed(origin, report.reason, report.message, report.context or {})


def report_of(event: events.JobEvent, uuid: str) -> Report | None:
    """The frame that tells a validator about ``event``; ``None`` where the wire has no such report."""
    match event:
        case events.ExecutorReady():
            return frames.V0ExecutorReadyRequest(job_uuid=uuid)
        case events.VolumesReady():
            return frames.V0VolumesReadyRequest(job_uuid=uuid)
        case events.StreamingReady():
            return frames.V0StreamingJobReadyRequest(
                job_uuid=uuid, public_key=event.certificate, ip=event.address or None, port=event.port
            )
        case events.ExecutionDone():
            return frames.V0ExecutionDoneRequest(job_uuid=uuid)
        case events.Finished():
            return frames.V0JobFinishedRequest(
                job_uuid=uuid,
                docker_process_stdout=event.stdout,
                docker_process_stderr=event.stderr,
                artifacts=event.artifacts,
                upload_results=event.upload_results,
            )
        case events.JobFailed():
            return _job_failed(event, uuid)
        case events.HordeFailed():
            return frames.V0HordeFailedRequest(
                job_uuid=uuid,
                reported_by=event.origin,
                message=event.message,
                reason=event.reason,
                context=event.context or None,
            )
        case events.Cancelled() | events.Expired():
            return _ended_early(event, uuid)
        case events.Received() | events.Accepted() | events.Declined():
            return None


def _job_failed(event: events.JobFailed, uuid: str) -> frames.V0JobFailedRequest:
    return frames.V0JobFailedRequest(
        job_uuid=uuid,
        message=event.message,
        reason=event.reason,
        stage=event.stage,
        docker_process_exit_status=event.exit_status,
        docker_process_stdout=event.stdout,
        docker_process_stderr=event.stderr,
        context=event.context or None,
    )


def _ended_early(event: events.Cancelled | events.Expired, uuid: str) -> Report:
    if isinstance(event, events.Cancelled):
        return frames.V0JobFailedRequest(
            job_uuid=uuid,
            message=event.message or "cancelled",
            reason=JobFaultReason.UNKNOWN,
            context={"cause": Cause.CANCELLED},
        )
    return frames.V0HordeFailedRequest(
        job_uuid=uuid,
        reported_by=event.origin,
        message=event.message,
        reason=HordeFaultReason.UNHANDLED_TIMEOUT,
        context={"cause": Cause.DEADLINE_PASSED},
    )
