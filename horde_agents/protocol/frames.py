"""What all links share: one JSON object a text frame, told apart by ``message_type``.

A frame that cannot be read raises ``MalformedFrame``; nothing here knows a link's messages.
"""

from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

T = TypeVar("T")

#: Bytes of one frame; results carry megabytes of output and artifacts (wire notes B.1.4, C.1.2).
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
#: Bytes of the frame with which a peer says who it is; what strangers send beyond is not parsed.
FIRST_FRAME_BYTES: Final = 64 * 1024
#: Bytes of one frame that a stock validator accepts (wire note B.1.3).
STOCK_VALIDATOR_FRAME_BYTES: Final = 1024 * 1024


class MalformedFrame(Exception):
    """A peer sent what its link does not allow; ``code`` is documented in docs/protocol.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StrictMessage(BaseModel):
    """A message on the facilitator's link, where unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class OpenMessage(BaseModel):
    """A message on the miner's and executor's links, where unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)


def read_json(text: str | bytes) -> Any:  # noqa: ANN401  (any JSON)
    """Parse what a stranger sent, key order kept.

    Stricter than the standard library where its leniency breaks what comes after: lone surrogates, which
    no store and no socket takes, NaN and Infinity, which are no JSON, and nesting deeper than 200.

    Raises:
        ValueError: no JSON, or one of these.
    """
    return from_json(text, allow_inf_nan=False)


def write_json(value: Any) -> str:  # noqa: ANN401  (any JSON)
    """Compact JSON of what ``read_json`` takes, keys in their order."""
    return to_json(value).decode()


def read_object(text: str | bytes, limit_bytes: int = MAX_FRAME_BYTES) -> dict[str, Any]:
    """Parse one frame into a plain object, key order kept.

    Raises:
        MalformedFrame: too large, no JSON, or no object.
    """
    if len(text) > limit_bytes:
        raise MalformedFrame("frame.too_large", f"frame of {len(text)} bytes; {limit_bytes} is the most")
    try:
        value = read_json(text)
    except ValueError as error:
        raise MalformedFrame("frame.not_json", f"frame is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise MalformedFrame("frame.not_object", f"frame is a JSON {type(value).__name__}, not an object")
    return value


def read_message(adapter: TypeAdapter[T], value: dict[str, Any]) -> T:
    """Turn a plain object into one of the link's messages.

    Raises:
        MalformedFrame: no such message on this link, or its fields are wrong.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "message_type"
        kind = value.get("message_type", "no message_type")
        raise MalformedFrame("frame.invalid", f"{kind!s:.80}: {where}: {first['msg']}") from error


#: Keys of our extensions, and what each is when it says nothing; a peer that knows none of them sees none.
_EXTENSION_KEYS: Final[dict[str, object]] = {
    "horde_extensions": None,
    "horde_manifest": None,
    "horde_prices": None,
    "challenge_signature": None,
    "horde_executor_classes": [],
    "horde_wait_s": 0,
    "sequence": 0,
}
_SAYS_SOMETHING: Final = object()


def render(message: BaseModel) -> str:
    """The frame's text, keys in model order as stock peers write them."""
    unset = {
        key for key, silent in _EXTENSION_KEYS.items() if getattr(message, key, _SAYS_SOMETHING) == silent
    }
    return message.model_dump_json(by_alias=False, exclude=unset or None)
