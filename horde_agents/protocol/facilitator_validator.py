"""The link between facilitator and validator (wire notes B), both directions.

Unknown keys are refused. ``V2JobRequest`` keeps the user's values untouched: its signature covers them.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from horde_agents.jobs.states import JobState
from horde_agents.protocol.frames import (
    MAX_FRAME_BYTES,
    MalformedFrame,
    StrictMessage,
    read_message,
    read_object,
)
from horde_agents.protocol.signed_fields import Scope, Signature
from horde_agents.protocol.signing import Hotkey
from horde_agents.protocol.volumes import MultiUpload, MultiVolume

#: Close codes a validator understands (wire note B.2.3).
CLOSE_BAD_SIGNATURE: Final = 3000
CLOSE_NOT_A_VALIDATOR: Final = 3001
#: Handshake header by which our facilitator hands our validator its nonce.
CHALLENGE_HEADER: Final = "X-Horde-Challenge"
HEARTBEAT_S: Final = 60.0


class ErrorItem(BaseModel):
    model_config = ConfigDict(extra="allow")
    msg: str
    type: str
    help: str = ""


class Response(StrictMessage):
    """The facilitator's answer to an authentication or a status update; it has no ``message_type``."""

    status: Literal["success", "error"]
    errors: list[ErrorItem] = Field(default_factory=list)


class V0AuthenticationRequest(StrictMessage):
    """``signature`` covers the 32 raw key bytes; ``challenge_signature``, with ours, the nonce as text."""

    message_type: Literal["V0AuthenticationRequest"] = "V0AuthenticationRequest"
    public_key: str
    signature: str
    challenge_signature: str | None = None


class V0Heartbeat(StrictMessage):
    message_type: Literal["V0Heartbeat"] = "V0Heartbeat"


class V0JobStatusUpdate(StrictMessage):
    message_type: Literal["V0JobStatusUpdate"] = "V0JobStatusUpdate"
    uuid: str
    status: JobState
    metadata: dict[str, Any] | None = None


class V0MachineSpecsUpdate(StrictMessage):
    message_type: Literal["V0MachineSpecsUpdate"] = "V0MachineSpecsUpdate"
    miner_hotkey: str
    validator_hotkey: str
    specs: dict[str, Any]
    batch_id: str


class HordeCancelResult(StrictMessage):
    """Whether the job is being ended; ``message`` says why not."""

    message_type: Literal["HordeCancelResult"] = "HordeCancelResult"
    uuid: str
    accepted: bool
    message: str = ""


class WireSignature(StrictMessage):
    signature_type: Literal["bittensor"] = "bittensor"
    signatory: str
    timestamp_ns: int = Field(ge=0, lt=2**63)
    signature: str
    signature_scope: Scope = Scope.SIGNED_FIELDS

    def plain(self) -> Signature:
        return Signature(Hotkey(self.signatory), self.timestamp_ns, self.signature, self.signature_scope)


class StreamingDetails(StrictMessage):
    public_key: str
    executor_ip: str | None = None


class V2JobRequest(StrictMessage):
    """A user's job on its way to the validator; limits are whole seconds."""

    type: Literal["job.new"] = "job.new"
    message_type: Literal["V2JobRequest"] = "V2JobRequest"
    uuid: str
    job_namespace: str | None = None
    executor_class: str
    docker_image: str
    args: list[str]
    env: dict[str, str] = Field(repr=False)
    use_gpu: bool
    volume: MultiVolume | None = None
    output_upload: MultiUpload | None = None
    artifacts_dir: str | None = None
    on_trusted_miner: bool = False
    download_time_limit: int = Field(ge=0)
    execution_time_limit: int = Field(ge=0)
    upload_time_limit: int = Field(ge=0)
    streaming_start_time_limit: int = Field(ge=0)
    streaming_details: StreamingDetails | None = None
    signature: WireSignature
    horde_executor_classes: list[str] = Field(default_factory=list)
    horde_wait_s: int = Field(default=0, ge=0)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that will do, as the user put them; one for whoever knows no more."""
        return tuple(self.horde_executor_classes) or (self.executor_class,)


class HordeJobRequest(StrictMessage):
    """A job whose user signed the whole ``body``: it may name several classes and wait (``waiting/1``)."""

    type: Literal["job.new"] = "job.new"
    message_type: Literal["HordeJobRequest"] = "HordeJobRequest"
    uuid: str
    body: dict[str, Any] = Field(repr=False)
    signature: WireSignature


class V0JobCheated(StrictMessage):
    type: Literal["job.cheated"] = "job.cheated"
    message_type: Literal["V0JobCheated"] = "V0JobCheated"
    job_uuid: str
    trusted_job_uuid: str
    details: Any
    signature: WireSignature


class HordeCancelJob(StrictMessage):
    """The user takes a job back."""

    message_type: Literal["HordeCancelJob"] = "HordeCancelJob"
    uuid: str
    message: str = ""


FromValidator = Annotated[
    V0AuthenticationRequest | V0Heartbeat | V0JobStatusUpdate | V0MachineSpecsUpdate | HordeCancelResult,
    Field(discriminator="message_type"),
]
FromFacilitator = Annotated[
    V2JobRequest | HordeJobRequest | V0JobCheated | HordeCancelJob, Field(discriminator="message_type")
]
_FROM_VALIDATOR: Final[TypeAdapter[FromValidator]] = TypeAdapter(FromValidator)
_FROM_FACILITATOR: Final[TypeAdapter[FromFacilitator]] = TypeAdapter(FromFacilitator)
_RESPONSE: Final = TypeAdapter(Response)


def read_from_validator(text: str | bytes, limit_bytes: int = MAX_FRAME_BYTES) -> FromValidator:
    """One frame at the facilitator.

    Raises:
        MalformedFrame: not of this link.
    """
    return read_message(_FROM_VALIDATOR, read_object(text, limit_bytes))


def read_from_facilitator(text: str | bytes) -> tuple[FromFacilitator | Response, dict[str, Any]]:
    """One frame at the validator, with its plain object for signature checks.

    Raises:
        MalformedFrame: not of this link.
    """
    value = read_object(text)
    if "message_type" not in value and "status" in value:
        return read_message(_RESPONSE, value), value
    return read_message(_FROM_FACILITATOR, value), value


def error_response(code: str, message: str, remedy: str = "") -> Response:
    """A refusal in the link's form."""
    return Response(status="error", errors=[ErrorItem(msg=message, type=code, help=remedy)])


__all__ = [
    "CHALLENGE_HEADER",
    "CLOSE_BAD_SIGNATURE",
    "CLOSE_NOT_A_VALIDATOR",
    "HEARTBEAT_S",
    "FromFacilitator",
    "FromValidator",
    "HordeCancelJob",
    "HordeCancelResult",
    "HordeJobRequest",
    "MalformedFrame",
    "Response",
    "V0AuthenticationRequest",
    "V0Heartbeat",
    "V0JobCheated",
    "V0JobStatusUpdate",
    "V0MachineSpecsUpdate",
    "V2JobRequest",
    "WireSignature",
    "error_response",
    "read_from_facilitator",
    "read_from_validator",
]
