"""The parameters of paths and queries: their OpenAPI schema, and how a stranger's text becomes a value."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from horde_agents.agents.validator.api.refusals import ApiRefused
from horde_agents.protocol.signing import is_hotkey

MOST_BIGINT: Final = 2**63 - 1
MOST_LIMIT: Final = 500
_DEFAULT_LIMIT: Final = 100
_MOST_TEXT: Final = 64
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORD: Final = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; ``read`` raises ``ValueError`` with the end of a sentence that begins with its name."""

    name: str
    description: str
    read: Callable[[str], Any] = field(repr=False)
    schema: Mapping[str, Any]
    default: Any = None


def whole(
    name: str, description: str, most: int = MOST_BIGINT, least: int = 0, default: int | None = None
) -> Parameter:
    """A whole number within ``least..most``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
            raise ValueError(f"is no whole number within {least}..{most}")
        if not least <= int(text) <= most:
            raise ValueError(f"is not within {least}..{most}")
        return int(text)

    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    return Parameter(name, description, read, schema, default)


def cycle_or_latest(name: str, description: str) -> Parameter:
    """A cycle's number, or ``latest``, which is read as ``None``."""
    number = whole(name, description)

    def read(text: str) -> int | None:
        return None if text == "latest" else int(number.read(text))

    schema = {"oneOf": [dict(number.schema), {"type": "string", "const": "latest"}]}
    return Parameter(name, description, read, schema)


def hotkey(name: str, description: str) -> Parameter:
    """An ss58 address."""

    def read(text: str) -> str:
        if len(text) > _MOST_TEXT or not is_hotkey(text):
            raise ValueError("is no ss58 address")
        return text

    return Parameter(name, description, read, {"type": "string", "maxLength": _MOST_TEXT})


def uuid(name: str, description: str) -> Parameter:
    """A uuid in lower case."""
    return _matching(name, description, _UUID, "is no uuid in lower case", {"format": "uuid"})


def word(name: str, description: str) -> Parameter:
    """Up to 64 visible characters."""
    return _matching(name, description, _WORD, "is not 1 to 64 visible ASCII characters", {})


def limit() -> Parameter:
    """How many rows a page has."""
    return whole("limit", "Rows of a page at most.", MOST_LIMIT, 1, _DEFAULT_LIMIT)


def read_all(given: Mapping[str, list[str]], known: tuple[Parameter, ...]) -> dict[str, Any]:
    """The value of each parameter, or its default.

    Raises:
        ApiRefused: one is unknown, given twice, or malformed.
    """
    values = {parameter.name: parameter.default for parameter in known}
    by_name = {parameter.name: parameter for parameter in known}
    for name, texts in given.items():
        if name not in by_name:
            names = ", ".join(sorted(by_name)) or "none"
            raise ApiRefused("parameter.unknown", f"{name!r:.80} is no parameter here; known: {names}.")
        if len(texts) > 1:
            raise ApiRefused("parameter.unknown", f"{name} was given {len(texts)} times; once is enough.")
        try:
            values[name] = by_name[name].read(texts[0])
        except ValueError as error:
            raise ApiRefused("parameter.invalid", f"{name} {texts[0]!r:.80} {error}.") from error
    return values


def _matching(
    name: str, description: str, pattern: re.Pattern[str], why: str, schema: Mapping[str, Any]
) -> Parameter:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(why)
        return text

    shape = {"type": "string", "minLength": 1, "maxLength": _MOST_TEXT, "pattern": f"^{pattern.pattern}$"}
    return Parameter(name, description, read, {**shape, **schema})
