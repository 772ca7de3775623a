"""The link between miner and executor (wire notes D, with greetings of our own), both directions.

It imports no key library, because executors carry none.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from horde_agents.jobs.budget import Limits
from horde_agents.jobs.faults import Stage
from horde_agents.jobs.spec import JobSpec
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.frames import MAX_FRAME_BYTES, OpenMessage, read_message, read_object
from horde_agents.protocol.volumes import uploads_of, volumes_of

PATH: Final = "/v0.1/executor_interface"


class HordeExecutorHello(OpenMessage):
    """An executor presents its slot; ``running_job_uuid`` is set when it comes back during a job.

    ``meant_for`` names the attempt for which it was started, if it was started for one, and
    ``placement_epoch`` the placement by which it was sent here.
    """

    message_type: Literal["HordeExecutorHello"] = "HordeExecutorHello"
    slot_id: str
    executor_class: str
    pid: int
    running_job_uuid: str | None = None
    devices: list[str] = Field(default_factory=list)
    meant_for: str | None = None
    placement_epoch: int = Field(default=0, ge=0, le=10**15)


class HordeWelcome(OpenMessage):
    """The miner takes the executor into service; ``horde_addresses`` are all miners to ask in need.

    ``uid`` is none while the miner does not know its own.
    """

    message_type: Literal["HordeWelcome"] = "HordeWelcome"
    miner_hotkey: str
    uid: int | None = None
    horde_addresses: list[str] = Field(default_factory=list)
    heartbeat_s: float = Field(default=5.0, ge=0.1, le=60.0)


class HordeGoTo(OpenMessage):
    """The slot serves another UID now: the executor leaves and presents itself at ``address``."""

    message_type: Literal["HordeGoTo"] = "HordeGoTo"
    address: str
    placement_epoch: int = Field(ge=0, le=10**15)


class HordeHeartbeat(OpenMessage):
    """The job is still being worked on; ``elapsed_s`` counts from the attempt's offer."""

    message_type: Literal["HordeHeartbeat"] = "HordeHeartbeat"
    job_uuid: str
    stage: Stage
    elapsed_s: float


class HordeLeaving(OpenMessage):
    """An idle executor is about to end; the miner offers it nothing more and closes the link."""

    message_type: Literal["HordeLeaving"] = "HordeLeaving"


class HordeAck(OpenMessage):
    """The miner has stored the final report; the executor may forget the job."""

    message_type: Literal["HordeAck"] = "HordeAck"
    job_uuid: str


FromExecutor = Annotated[
    HordeExecutorHello
    | HordeHeartbeat
    | HordeLeaving
    | frames.V0ExecutorReadyRequest
    | frames.V0VolumesReadyRequest
    | frames.V0StreamingJobReadyRequest
    | frames.V0ExecutionDoneRequest
    | frames.V0MachineSpecsRequest
    | frames.V0JobFinishedRequest
    | frames.V0JobFailedRequest
    | frames.V0HordeFailedRequest
    | frames.GenericError,
    Field(discriminator="message_type"),
]
FromMiner = Annotated[
    HordeWelcome
    | HordeGoTo
    | HordeAck
    | frames.V0InitialJobRequest
    | frames.V0JobRequest
    | frames.HordeCancelJob
    | frames.GenericError,
    Field(discriminator="message_type"),
]
_FROM_EXECUTOR: Final[TypeAdapter[FromExecutor]] = TypeAdapter(FromExecutor)
_FROM_MINER: Final[TypeAdapter[FromMiner]] = TypeAdapter(FromMiner)


def read_from_executor(text: str | bytes, limit_bytes: int = MAX_FRAME_BYTES) -> FromExecutor:
    """One frame at the miner.

    Raises:
        MalformedFrame: not of this link, or too large.
    """
    return read_message(_FROM_EXECUTOR, read_object(text, limit_bytes))


def read_from_miner(text: str | bytes) -> FromMiner:
    """One frame at the executor.

    Raises:
        MalformedFrame: not of this link.
    """
    return read_message(_FROM_MINER, read_object(text))


def job_spec(offer: frames.V0InitialJobRequest, request: frames.V0JobRequest, limits: Limits) -> JobSpec:
    """What the two frames ask for together."""
    uploads, system_output = uploads_of(request.output_upload)
    return JobSpec(
        uuid=offer.job_uuid,
        executor_class=offer.executor_class,
        image=request.docker_image or offer.docker_image or "",
        args=tuple(request.docker_run_cmd),
        limits=limits,
        env=dict(request.env),
        volumes=volumes_of(offer.volume or request.volume),
        uploads=uploads,
        system_output=system_output,
        artifacts_dir=request.artifacts_dir,
        gpu=request.docker_run_options_preset == "nvidia_all",
        raw_script=request.raw_script,
        streaming_certificate=offer.streaming_details.public_key if offer.streaming_details else None,
    )
