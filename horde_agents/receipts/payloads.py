"""What a receipt says, and the one text of it that both sides sign (wire note C.8)."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class ReceiptType(StrEnum):
    """Which statement a receipt makes."""

    STARTED = "JobStartedReceipt"
    ACCEPTED = "JobAcceptedReceipt"
    FINISHED = "JobFinishedReceipt"
    PROGRESS = "JobProgressReceipt"  # extension progress/1; never on the published wire


class ReceiptWrong(Exception):
    """A receipt breaks the published bounds or does not fit its job; the text says where."""


_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2099
_MAX_TTL_S: Final = 2_592_000
_MAX_TOOK_US: Final = 31_536_000_000_000
_MAX_BLOCKS: Final = 10_000
_MAX_SEQUENCE: Final = 10_000_000


def _canonical_uuid(text: str) -> str:
    if str(UUID(text)) != text:
        raise ValueError("job_uuid is not in canonical lower case")
    return text


def _in_range(instant: datetime) -> datetime:
    if not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise ValueError(f"year {instant.year} is outside {_FIRST_YEAR}..{_LAST_YEAR}")
    return instant.astimezone(UTC)


JobUuid = Annotated[str, AfterValidator(_canonical_uuid)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
Ttl = Annotated[int, Field(ge=0, le=_MAX_TTL_S)]


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    job_uuid: JobUuid
    miner_hotkey: str
    validator_hotkey: str
    timestamp: Instant


class JobStarted(_Payload):
    """The validator offers an attempt; ``ttl`` seconds the miner may take to answer."""

    receipt_type: Literal[ReceiptType.STARTED] = ReceiptType.STARTED
    executor_class: str
    is_organic: bool
    ttl: Ttl


class JobAccepted(_Payload):
    """The miner took the attempt; it occupies an executor for at most ``ttl`` seconds."""

    receipt_type: Literal[ReceiptType.ACCEPTED] = ReceiptType.ACCEPTED
    time_accepted: Instant
    ttl: Ttl


class JobFinished(_Payload):
    """The attempt is over; ``score_str`` is its value in seconds, six decimals."""

    receipt_type: Literal[ReceiptType.FINISHED] = ReceiptType.FINISHED
    time_started: Instant
    time_took_us: Annotated[int, Field(ge=0, le=_MAX_TOOK_US)]
    score_str: Annotated[str, Field(max_length=256, pattern=r"^[0-9]+(\.[0-9]+)?$")]
    block_numbers: Annotated[
        list[Annotated[int, Field(ge=0, le=2**32)]], Field(default_factory=list, max_length=_MAX_BLOCKS)
    ]


class JobProgress(_Payload):
    """The attempt still runs, and has run for ``run_us`` by the validator's own clock (``progress/1``)."""

    receipt_type: Literal[ReceiptType.PROGRESS] = ReceiptType.PROGRESS
    sequence: Annotated[int, Field(ge=1, le=_MAX_SEQUENCE)]
    run_us: Annotated[int, Field(ge=0, le=_MAX_TOOK_US)]


Payload = Annotated[JobStarted | JobAccepted | JobFinished, Field(discriminator="receipt_type")]
#: Whatever is signed about a job, on the published wire or beside it.
Statement: TypeAlias = JobStarted | JobAccepted | JobFinished | JobProgress
_PAYLOAD: Final[TypeAdapter[Payload]] = TypeAdapter(Payload)


def read_payload(value: dict[str, Any], expected: ReceiptType | None = None) -> Payload:
    """Check a payload from the wire; ``expected`` fills in an omitted ``receipt_type``.

    Raises:
        ReceiptWrong: out of bounds, or another type than expected.
    """
    if expected is not None and "receipt_type" not in value:
        value = {**value, "receipt_type": expected}
    try:
        payload = _PAYLOAD.validate_python(value)
    except ValidationError as error:
        raise _wrong(error) from error
    if expected is not None and payload.receipt_type is not expected:
        raise ReceiptWrong(f"receipt is a {payload.receipt_type}, expected a {expected}")
    return payload


def read_progress(value: dict[str, Any]) -> JobProgress:
    """Check a progress payload from a peer.

    Raises:
        ReceiptWrong: out of bounds, or no progress receipt.
    """
    try:
        return JobProgress.model_validate(value)
    except ValidationError as error:
        raise _wrong(error) from error


def instant_text(instant: datetime) -> str:
    """``2026-01-02T03:04:05.678901Z``; no fraction when it is zero (wire note C.8.2)."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def payload_object(payload: Statement) -> dict[str, Any]:
    """The payload as a plain object, instants in the signed form."""
    return {key: _plain(value) for key, value in payload.__dict__.items()}  # all fields are flat


def signed_text(payload: Statement) -> bytes:
    """The bytes both sides sign: sorted keys, ``", "`` and ``": "``, ASCII."""
    return json.dumps(payload_object(payload), sort_keys=True).encode()


def score_text(value_s: int) -> str:
    """``20`` → ``"20.000000"``."""
    return f"{value_s}.000000"


def _wrong(error: ValidationError) -> ReceiptWrong:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return ReceiptWrong(f"receipt payload: {where}: {first['msg']}")


def _plain(value: Any) -> Any:  # noqa: ANN401  (one JSON value)
    if isinstance(value, datetime):
        return instant_text(value)
    return str(value) if isinstance(value, StrEnum) else value
