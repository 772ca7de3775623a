"""Why a job ended without success, split by who is at fault.

::

    rejected      a miner or validator would not take it      RejectionReason
    failed        the user's own job (image, data, command)   JobFaultReason, at a Stage
    horde_failed  the horde (silent peer, lost executor)      HordeFaultReason

Values are the wire texts (stock peers read any other text as ``unknown``). A reason of our own
that the wire does not know travels in ``context.cause`` beside the nearest wire reason: ``Cause``.
"""

from enum import StrEnum


class RejectionReason(StrEnum):
    """Why nobody took the job."""

    UNKNOWN = "unknown"
    BUSY = "busy"
    INVALID_SIGNATURE = "invalid_signature"
    INVALID_RECEIPT = "invalid_receipt"
    NO_MINER_FOR_JOB = "no_miner_for_job"
    VALIDATOR_BLACKLISTED = "validator_blacklisted"


class JobFaultReason(StrEnum):
    """What went wrong in the user's own job."""

    UNKNOWN = "unknown"
    TIMEOUT = "timeout"
    NONZERO_RETURN_CODE = "nonzero_return_code"
    DOWNLOAD_FAILED = "download_failed"
    UPLOAD_FAILED = "upload_failed"


class Stage(StrEnum):
    """Which part of the executor's work a job was in."""

    UNKNOWN = "unknown"
    EXECUTOR_STARTUP = "executor_startup"
    VOLUME_DOWNLOAD = "volume_download"
    STREAMING_STARTUP = "streaming_startup"
    EXECUTION = "execution"
    RESULT_UPLOAD = "result_upload"


class HordeFaultReason(StrEnum):
    """What went wrong in the horde."""

    UNKNOWN = "unknown"
    GENERIC_ERROR = "generic_error"
    UNHANDLED_EXCEPTION = "unhandled_exception"
    UNHANDLED_TIMEOUT = "unhandled_timeout"
    STREAMING_FAILED = "streaming_failed"
    MINER_CONNECTION_FAILED = "miner_connection_failed"
    INITIAL_RESPONSE_TIMED_OUT = "initial_response_timed_out"
    EXECUTOR_READINESS_RESPONSE_TIMED_OUT = "executor_readiness_response_timed_out"
    VOLUMES_TIMED_OUT = "volumes_timed_out"
    STREAMING_JOB_READY_TIMED_OUT = "streaming_job_ready_timed_out"
    EXECUTION_TIMED_OUT = "execution_timed_out"
    FINAL_RESPONSE_TIMED_OUT = "final_response_timed_out"
    EXECUTOR_SPINUP_FAILED = "executor_spinup_failed"
    EXECUTOR_DISCONNECTED = "executor_disconnected"
    SECURITY_CHECK_FAILED = "security_check_failed"


class Cause(StrEnum):
    """Our finer causes, carried as ``context.cause``; one line each, for people and for scripts."""

    CANCELLED = "cancelled"  # the user took the job back
    DEADLINE_PASSED = "deadline_passed"  # no final state within the whole budget
    AGENT_RESTARTED = "agent_restarted"  # an agent died and found the job in its store
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_REFUSED = "image_refused"  # a name that no registry could serve
    VOLUME_REFUSED = "volume_refused"  # zip that climbs out, explodes, or an address that is refused
    VOLUME_UNREACHABLE = "volume_unreachable"
    SPACE_EXCEEDED = "space_exceeded"  # wrote more than its writable space
    MEMORY_EXCEEDED = "memory_exceeded"
    OUTPUT_MISSING = "output_missing"  # an upload names a file the job did not write
    UPLOAD_REFUSED = "upload_refused"  # the receiver answered with an error
    STAGE_TIMEOUT = "stage_timeout"
    DOCKER_FAILED = "docker_failed"  # the host's container engine did not do its part
