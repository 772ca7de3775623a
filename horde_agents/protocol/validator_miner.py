"""The link between validator and miner (wire notes C), both directions; unknown keys are ignored."""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, field_validator

from horde_agents.jobs.faults import RejectionReason
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.frames import MAX_FRAME_BYTES, OpenMessage, read_message, read_object
from horde_agents.protocol.job_frames import known_or_unknown
from horde_agents.protocol.signing import Hotkey, Signer, from_hex, to_hex, verify

#: Seconds by which an authentication may be old, or ahead of our clock (wire note C.2.2).
AUTH_BACK_S: Final = 10
AUTH_AHEAD_S: Final = 5
#: A year: no job runs longer.
_MOST_RUN_US: Final = 31_536_000_000_000


class ValidatorAuthForMiner(OpenMessage):
    message_type: Literal["ValidatorAuthForMiner"] = "ValidatorAuthForMiner"
    validator_hotkey: str
    miner_hotkey: str
    timestamp: int
    signature: str
    horde_extensions: list[str] | None = None

    def signed_text(self) -> bytes:
        return f"{self.validator_hotkey}:{self.miner_hotkey}:{self.timestamp}".encode()


class V0ExecutorManifestRequest(OpenMessage):
    """Executors per wire class; the first frame a validator gets. ``horde_manifest`` counts them by all
    classes, for peers that announce ``classes/1``; ``horde_prices`` (``prices/1``) says what a second of an
    executor of a class costs, in millionths of a class weight of 1. It is read with distrust, elsewhere."""

    message_type: Literal["V0ExecutorManifestRequest"] = "V0ExecutorManifestRequest"
    manifest: dict[str, int]
    horde_extensions: list[str] | None = None
    horde_manifest: dict[str, int] | None = None
    horde_prices: Any = None


class SignedReceipt(OpenMessage):
    """A receipt as published and as carried inside a decline (wire note C.8.6)."""

    payload: dict[str, Any]
    validator_signature: str
    miner_signature: str | None = None


class V0AcceptJobRequest(OpenMessage):
    message_type: Literal["V0AcceptJobRequest"] = "V0AcceptJobRequest"
    job_uuid: str


class V0DeclineJobRequest(OpenMessage):
    message_type: Literal["V0DeclineJobRequest"] = "V0DeclineJobRequest"
    job_uuid: str
    message: str = ""
    reason: RejectionReason = RejectionReason.UNKNOWN
    receipts: list[SignedReceipt] = Field(default_factory=list)
    context: dict[str, Any] | None = None

    @field_validator("reason", mode="before")
    @classmethod
    def _reason(cls, text: object) -> RejectionReason:
        return known_or_unknown(RejectionReason, text)


class V0JobAcceptedReceiptRequest(OpenMessage):
    message_type: Literal["V0JobAcceptedReceiptRequest"] = "V0JobAcceptedReceiptRequest"
    payload: dict[str, Any]
    signature: str


class V0JobFinishedReceiptRequest(OpenMessage):
    message_type: Literal["V0JobFinishedReceiptRequest"] = "V0JobFinishedReceiptRequest"
    payload: dict[str, Any]
    signature: str


class V0MainHotkeyMessage(OpenMessage):
    message_type: Literal["V0MainHotkeyMessage"] = "V0MainHotkeyMessage"
    main_hotkey: str | None = None


class HordeReceiptStored(OpenMessage):
    """The miner has stored and published this receipt (extension ``receipt-ack/1``).

    ``sequence`` says which one of an attempt's progress receipts, and is 0 for all others.
    """

    message_type: Literal["HordeReceiptStored"] = "HordeReceiptStored"
    job_uuid: str
    receipt_type: str
    sequence: int = 0


class HordeProgress(OpenMessage):
    """The executor still works; ``run_us`` is since it was ready, as the miner says (``progress/1``)."""

    message_type: Literal["HordeProgress"] = "HordeProgress"
    job_uuid: str
    run_us: int = Field(ge=0, le=_MOST_RUN_US)


class HordeProgressReceipt(OpenMessage):
    """A progress receipt for the miner, which countersigns, stores and publishes it (``progress/1``)."""

    message_type: Literal["HordeProgressReceipt"] = "HordeProgressReceipt"
    payload: dict[str, Any]
    signature: str


class UnauthorizedError(OpenMessage):
    message_type: Literal["UnauthorizedError"] = "UnauthorizedError"
    code: str = ""
    details: str = ""


class V0ExecutorFailedRequest(OpenMessage):
    """Deprecated; still read (wire note C.5.7)."""

    message_type: Literal["V0ExecutorFailedRequest"] = "V0ExecutorFailedRequest"
    job_uuid: str


FromValidator = Annotated[
    ValidatorAuthForMiner
    | frames.V0InitialJobRequest
    | frames.V0JobRequest
    | V0JobAcceptedReceiptRequest
    | V0JobFinishedReceiptRequest
    | V0MainHotkeyMessage
    | HordeProgressReceipt
    | frames.HordeCancelJob
    | frames.GenericError,
    Field(discriminator="message_type"),
]
FromMiner = Annotated[
    V0ExecutorManifestRequest
    | V0AcceptJobRequest
    | V0DeclineJobRequest
    | frames.V0ExecutorReadyRequest
    | frames.V0VolumesReadyRequest
    | frames.V0StreamingJobReadyRequest
    | frames.V0ExecutionDoneRequest
    | frames.V0MachineSpecsRequest
    | frames.V0JobFinishedRequest
    | frames.V0JobFailedRequest
    | frames.V0HordeFailedRequest
    | V0MainHotkeyMessage
    | V0ExecutorFailedRequest
    | HordeReceiptStored
    | HordeProgress
    | UnauthorizedError
    | frames.GenericError,
    Field(discriminator="message_type"),
]
_FROM_VALIDATOR: Final[TypeAdapter[FromValidator]] = TypeAdapter(FromValidator)
_FROM_MINER: Final[TypeAdapter[FromMiner]] = TypeAdapter(FromMiner)


def read_from_validator(
    text: str | bytes, limit_bytes: int = MAX_FRAME_BYTES
) -> tuple[FromValidator, dict[str, Any]]:
    """One frame at the miner, with its plain object, which ``validator_signature`` covers.

    Raises:
        MalformedFrame: not of this link.
    """
    value = read_object(text, limit_bytes)
    return read_message(_FROM_VALIDATOR, value), value


def read_from_miner(text: str | bytes) -> FromMiner:
    """One frame at the validator.

    Raises:
        MalformedFrame: not of this link.
    """
    return read_message(_FROM_MINER, read_object(text))


def sign_auth(
    signer: Signer, miner_hotkey: Hotkey, timestamp: int, extensions: list[str]
) -> ValidatorAuthForMiner:
    """The first frame of a validator's connection; ``timestamp`` is in Unix seconds."""
    auth = ValidatorAuthForMiner(
        validator_hotkey=signer.hotkey,
        miner_hotkey=miner_hotkey,
        timestamp=timestamp,
        signature="",
        horde_extensions=extensions,
    )
    return auth.model_copy(update={"signature": to_hex(signer.sign(auth.signed_text()))})


def why_not_authenticated(
    auth: ValidatorAuthForMiner, path_hotkey: str, miner_hotkey: Hotkey, now_s: float
) -> str | None:
    """The first check that fails, in the wire's order (wire note C.2.2); ``None`` when all hold."""
    age_s = now_s - auth.timestamp
    if age_s > AUTH_BACK_S:
        return f"token too old: {age_s:.0f} s"
    if age_s < -AUTH_AHEAD_S:
        return f"token from the future: {-age_s:.0f} s ahead"
    if auth.miner_hotkey != miner_hotkey:
        return f"wrong miner hotkey ({auth.miner_hotkey!s:.60} != {miner_hotkey})"
    if auth.validator_hotkey != path_hotkey:
        return f"wrong validator hotkey ({auth.validator_hotkey!s:.60} != {path_hotkey})"
    if not verify(auth.validator_hotkey, auth.signed_text(), from_hex(auth.signature)):
        return "signature mismatch"
    return None


def _covered(value: dict[str, Any]) -> bytes:
    """The canonical text of a frame without its signature (wire note C.6.1)."""
    plain = {key: item for key, item in value.items() if key != "validator_signature"}
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def render_signed(message: frames.V0InitialJobRequest | frames.V0JobRequest, signer: Signer) -> str:
    """The frame with ``validator_signature`` over all its other keys."""
    value = message.model_dump(mode="json")
    return json.dumps({"validator_signature": to_hex(signer.sign(_covered(value))), **value})


def frame_signature_holds(value: dict[str, Any], validator_hotkey: str) -> bool | None:
    """Whether the frame's signature is the validator's; ``None`` when the frame carries none."""
    signature = value.get("validator_signature")
    if signature is None:
        return None
    return verify(validator_hotkey, _covered(value), from_hex(str(signature)))
