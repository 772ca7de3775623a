"""Turns lifecycle events into the metadata of a status update, and back, with stock's quirks. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from horde_agents.jobs import events
from horde_agents.jobs.faults import Cause, HordeFaultReason, JobFaultReason, RejectionReason, Stage
from horde_agents.jobs.lifecycle import RULES
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol.facilitator_validator import V0JobStatusUpdate
from horde_agents.protocol.job_frames import known_or_unknown


def status_update(event: events.JobEvent, uuid: str) -> V0JobStatusUpdate:
    """The frame by which a validator tells its facilitator about ``event``."""
    return V0JobStatusUpdate(uuid=uuid, status=RULES[type(event)].target, metadata=metadata_of(event))


def metadata_of(event: events.JobEvent) -> dict[str, Any]:
    """The details of ``event`` under the keys that users read (wire note B.7.2)."""
    match event:
        case events.Finished():
            return {
                "miner_response": {
                    "docker_process_stdout": event.stdout,
                    "docker_process_stderr": event.stderr,
                    "artifacts": event.artifacts,
                    "upload_results": event.upload_results,
                }
            }
        case events.StreamingReady():
            return {
                "streaming_details": {
                    "streaming_server_cert": event.certificate,
                    "streaming_server_address": event.address,
                    "streaming_server_port": event.port,
                }
            }
        case events.Declined():
            return {"job_rejection_details": _details(event, event.reason, rejected_by=event.origin)}
        case events.JobFailed():
            return {
                "job_failure_details": {
                    **_details(event, event.reason, stage=event.stage),
                    "docker_process_exit_status": event.exit_status,
                    "docker_process_stdout": event.stdout,
                    "docker_process_stderr": event.stderr,
                }
            }
        case events.HordeFailed():
            return {"horde_failure_details": _details(event, event.reason, reported_by=event.origin)}
        case events.Cancelled() | events.Expired():
            return _ended_early(event)
        case _:
            return {}


def _details(
    event: events.Declined | events.JobFailed | events.HordeFailed, reason: str, **more: str
) -> dict[str, Any]:
    return {**more, "reason": str(reason), "message": event.message, "context": event.context or None}


def _ended_early(event: events.Cancelled | events.Expired) -> dict[str, Any]:
    if isinstance(event, events.Cancelled):
        return {
            "job_failure_details": {
                "reason": JobFaultReason.UNKNOWN.value,
                "stage": Stage.UNKNOWN.value,
                "message": event.message or "The job was cancelled.",
                "context": {"cause": Cause.CANCELLED.value, "cancelled_by": event.origin.value},
            }
        }
    return {
        "horde_failure_details": {
            "reported_by": event.origin.value,
            "reason": HordeFaultReason.UNHANDLED_TIMEOUT.value,
            "message": event.message or "The job's whole budget passed without a final report.",
            "context": {"cause": Cause.DEADLINE_PASSED.value},
        }
    }


def event_of_update(update: V0JobStatusUpdate) -> events.JobEvent | None:
    """What a validator's update says happened; ``None`` for ``sent``, which is ours to say.

    The metadata counts more than the status: stock validators report their own timeouts as ``failed``
    with horde details (wire note B.7.4), and ``completed`` may come bare (B.7.8).
    """
    metadata = update.metadata or {}
    plain = _PLAIN.get(update.status)
    if plain is not None:
        return plain
    match update.status:
        case JobState.STREAMING_READY:
            return _streaming(_object(metadata, "streaming_details"))
        case JobState.COMPLETED:
            return _finished(_object(metadata, "miner_response"))
        case JobState.REJECTED:
            return _declined(_object(metadata, "job_rejection_details"))
        case JobState.FAILED | JobState.HORDE_FAILED:
            return _failed(update.status, metadata)
        case _:
            return None


#: Milestones that carry no details.
_PLAIN: Final[Mapping[JobState, events.JobEvent]] = {
    JobState.RECEIVED: events.Received(Role.VALIDATOR),
    JobState.ACCEPTED: events.Accepted(Role.MINER),
    JobState.EXECUTOR_READY: events.ExecutorReady(Role.MINER),
    JobState.VOLUMES_READY: events.VolumesReady(Role.MINER),
    JobState.EXECUTION_DONE: events.ExecutionDone(Role.MINER),
}


def _failed(status: JobState, metadata: Mapping[str, Any]) -> events.JobEvent:
    horde, job = _object(metadata, "horde_failure_details"), _object(metadata, "job_failure_details")
    if status is JobState.FAILED and _cause(job) == Cause.CANCELLED:
        return events.Cancelled(Role.VALIDATOR, _text(job, "message"))
    if status is JobState.FAILED and _cause(horde) == Cause.DEADLINE_PASSED:
        return events.Expired(Role.VALIDATOR, _text(horde, "message"))
    if horde or status is JobState.HORDE_FAILED:
        return events.HordeFailed(
            known_or_unknown(Role, horde.get("reported_by")),
            known_or_unknown(HordeFaultReason, horde.get("reason")),
            _text(horde, "message"),
            _object(horde, "context"),
        )
    exit_status = job.get("docker_process_exit_status")
    return events.JobFailed(
        Role.MINER,
        known_or_unknown(JobFaultReason, job.get("reason")),
        known_or_unknown(Stage, job.get("stage")),
        _text(job, "message"),
        exit_status if isinstance(exit_status, int) else None,
        _text(job, "docker_process_stdout"),
        _text(job, "docker_process_stderr"),
        _object(job, "context"),
    )


def _declined(details: Mapping[str, Any]) -> events.Declined:
    by = known_or_unknown(Role, details.get("rejected_by"))
    return events.Declined(
        by if by is Role.MINER else Role.VALIDATOR,
        known_or_unknown(RejectionReason, details.get("reason")),
        _text(details, "message"),
        _object(details, "context"),
    )


def _finished(response: Mapping[str, Any]) -> events.Finished:
    return events.Finished(
        Role.MINER,
        _text(response, "docker_process_stdout"),
        _text(response, "docker_process_stderr"),
        _texts(response, "artifacts"),
        _texts(response, "upload_results"),
    )


def _streaming(details: Mapping[str, Any]) -> events.StreamingReady:
    port = details.get("streaming_server_port")
    return events.StreamingReady(
        Role.MINER,
        _text(details, "streaming_server_cert"),
        _text(details, "streaming_server_address"),
        port if isinstance(port, int) else 0,
    )


def _object(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    item = value.get(key)
    return item if isinstance(item, dict) else {}


def _text(value: Mapping[str, Any], key: str) -> str:
    item = value.get(key)
    return item if isinstance(item, str) else ""


def _texts(value: Mapping[str, Any], key: str) -> dict[str, str]:
    return {name: text for name, text in _object(value, key).items() if isinstance(text, str)}


def _cause(details: Mapping[str, Any]) -> object:
    return _object(details, "context").get("cause")
