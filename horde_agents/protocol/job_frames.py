"""Frames about one attempt, carried by validator's and executor's links (wire notes C.4, C.5, D.3)."""

from enum import StrEnum
from typing import Any, Literal, TypeVar

from pydantic import AliasChoices, Field, field_validator

from horde_agents.jobs.budget import Limits
from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason, Stage
from horde_agents.jobs.states import Role
from horde_agents.protocol.frames import OpenMessage
from horde_agents.protocol.volumes import Upload, Volume

E = TypeVar("E", bound=StrEnum)


def known_or_unknown(kind: type[E], text: object) -> E:
    """Texts that a newer peer may use become ``unknown``, as stock reads them (wire note C.5.8)."""
    try:
        return kind(str(text))
    except ValueError:
        return kind("unknown")


class GenericError(OpenMessage):
    message_type: Literal["GenericError"] = "GenericError"
    details: str = ""


class StreamingClient(OpenMessage):
    public_key: str
    executor_ip: str | None = None


class ExecutorTiming(OpenMessage):
    """Seconds granted per stage."""

    allowed_leeway: int = Field(ge=0)
    download_time_limit: int = Field(ge=0)
    execution_time_limit: int = Field(ge=0)
    upload_time_limit: int = Field(ge=0)
    streaming_start_time_limit: int = Field(ge=0)


class V0InitialJobRequest(OpenMessage):
    """Offers an attempt; carries the started receipt as the validator signed it."""

    message_type: Literal["V0InitialJobRequest"] = "V0InitialJobRequest"
    job_uuid: str
    executor_class: str
    docker_image: str | None = None
    timeout_seconds: int | None = None
    volume: Volume | None = None
    job_started_receipt_payload: dict[str, Any] | None = None
    job_started_receipt_signature: str | None = None
    streaming_details: StreamingClient | None = None
    executor_timing: ExecutorTiming | None = None


class V0JobRequest(OpenMessage):
    """What to run, sent once the executor is ready."""

    message_type: Literal["V0JobRequest"] = "V0JobRequest"
    job_uuid: str
    executor_class: str
    docker_image: str | None = None
    raw_script: str | None = None
    docker_run_options_preset: Literal["nvidia_all", "none"] = "none"
    docker_run_cmd: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    volume: Volume | None = None
    output_upload: Upload | None = None
    artifacts_dir: str | None = None


class V0ExecutorReadyRequest(OpenMessage):
    message_type: Literal["V0ExecutorReadyRequest"] = "V0ExecutorReadyRequest"
    job_uuid: str
    executor_token: str | None = None


class V0VolumesReadyRequest(OpenMessage):
    message_type: Literal["V0VolumesReadyRequest"] = "V0VolumesReadyRequest"
    job_uuid: str


class V0StreamingJobReadyRequest(OpenMessage):
    message_type: Literal["V0StreamingJobReadyRequest"] = "V0StreamingJobReadyRequest"
    job_uuid: str
    executor_token: str | None = None
    public_key: str
    ip: str | None = None
    port: int
    miner_signature: str | None = None


class V0ExecutionDoneRequest(OpenMessage):
    message_type: Literal["V0ExecutionDoneRequest"] = "V0ExecutionDoneRequest"
    job_uuid: str


class V0MachineSpecsRequest(OpenMessage):
    message_type: Literal["V0MachineSpecsRequest"] = "V0MachineSpecsRequest"
    job_uuid: str
    specs: dict[str, Any]


class V0JobFinishedRequest(OpenMessage):
    message_type: Literal["V0JobFinishedRequest"] = "V0JobFinishedRequest"
    job_uuid: str
    docker_process_stdout: str
    docker_process_stderr: str
    artifacts: dict[str, str] | None = None
    upload_results: dict[str, str] | None = None


class V0JobFailedRequest(OpenMessage):
    message_type: Literal["V0JobFailedRequest"] = "V0JobFailedRequest"
    job_uuid: str
    message: str = Field(default="", validation_alias=AliasChoices("message", "error_detail"))
    reason: JobFaultReason = Field(
        default=JobFaultReason.UNKNOWN, validation_alias=AliasChoices("reason", "error_type")
    )
    stage: Stage = Stage.UNKNOWN
    docker_process_exit_status: int | None = None
    docker_process_stdout: str | None = None
    docker_process_stderr: str | None = None
    context: dict[str, Any] | None = None

    @field_validator("reason", mode="before")
    @classmethod
    def _reason(cls, text: object) -> JobFaultReason:
        return known_or_unknown(JobFaultReason, text)

    @field_validator("stage", mode="before")
    @classmethod
    def _stage(cls, text: object) -> Stage:
        return known_or_unknown(Stage, text)


class V0HordeFailedRequest(OpenMessage):
    message_type: Literal["V0HordeFailedRequest"] = "V0HordeFailedRequest"
    job_uuid: str
    reported_by: Role = Role.UNKNOWN
    message: str = ""
    reason: HordeFaultReason = HordeFaultReason.UNKNOWN
    context: dict[str, Any] | None = None

    @field_validator("reported_by", mode="before")
    @classmethod
    def _reported_by(cls, text: object) -> Role:
        return known_or_unknown(Role, text)

    @field_validator("reason", mode="before")
    @classmethod
    def _reason(cls, text: object) -> HordeFaultReason:
        return known_or_unknown(HordeFaultReason, text)


class HordeCancelJob(OpenMessage):
    """End a running attempt (extension ``cancel/1``)."""

    message_type: Literal["HordeCancelJob"] = "HordeCancelJob"
    job_uuid: str
    message: str = ""


def limits_of(request: V0InitialJobRequest) -> Limits:
    """The attempt's budget; the legacy single timeout counts as execution time (wire note C.4.1)."""
    timing = request.executor_timing
    if timing is None:
        return Limits(0, request.timeout_seconds or 300, 0, leeway_s=0)
    return Limits(
        timing.download_time_limit,
        timing.execution_time_limit,
        timing.upload_time_limit,
        timing.streaming_start_time_limit if request.streaming_details else 0,
        timing.allowed_leeway,
    )
