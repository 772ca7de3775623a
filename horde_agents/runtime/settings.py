"""Reads an agent's settings from one TOML file and the environment, and refuses what it does not know.

A setting ``port`` of the agent ``miner`` comes from ``HORDE_MINER_PORT``, else from the file, else it
has its default. In the environment maps are JSON, and lists are JSON or have commas between them.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic.fields import FieldInfo

from horde_agents.runtime.redaction import HIDDEN, names_secret, shown

S = TypeVar("S", bound="AgentSettings")

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_MODULE: Final = re.compile(r"\b[a-z_]\w*\.(?=\w)")
#: Names end in their unit.
_UNITS: Final = {"_s": "seconds", "_bytes": "bytes", "_blocks": "blocks", "_tao": "TAO", "_port": "TCP port"}


class AgentSettings(BaseModel):
    """What every agent's settings model derives from; values never change after start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("log_level", check_fields=False)
    @classmethod
    def _known_level(cls, level: str) -> str:
        if level.lower() not in LOG_LEVELS:
            raise ValueError(f"use one of {', '.join(LOG_LEVELS)}")
        return level.lower()


class SettingsWrong(Exception):
    """A setting is unknown or has a wrong value; the text names it, where it came from and the remedy."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of the settings reference."""

    name: str
    env_name: str
    type_name: str
    unit: str
    default: str
    description: str


def load_settings(
    model: type[S], agent: str, file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> S:
    """Read ``model`` for ``agent``.

    Raises:
        SettingsWrong: the file is unreadable, or a setting is unknown, missing or wrong.
    """
    values, sources = _from_file(file) if file else ({}, {})
    prefix = f"HORDE_{agent.upper()}_"
    for env_name, text in environ.items():
        if env_name.startswith(prefix):
            name = env_name.removeprefix(prefix).lower()
            values[name] = _from_text(text, env_name, model.model_fields.get(name))
            sources[name] = f"environment variable {env_name}"
    _refuse_unknown(model, values, sources)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsWrong(_sentence(error, sources, prefix)) from error


def settings_rows(model: type[AgentSettings], agent: str) -> list[SettingRow]:
    """Every setting of ``model``, for the reference page."""
    prefix = f"HORDE_{agent.upper()}_"
    return [_row(name, field, prefix) for name, field in model.model_fields.items()]


def _row(name: str, field: FieldInfo, prefix: str) -> SettingRow:
    annotation = field.annotation
    is_plain = isinstance(annotation, type) and get_origin(annotation) is None
    default = field.get_default(call_default_factory=True, validated_data={})
    return SettingRow(
        name,
        prefix + name.upper(),
        annotation.__name__ if is_plain and annotation else _MODULE.sub("", str(annotation)),
        next((unit for end, unit in _UNITS.items() if f"_{name}".endswith(end)), ""),
        "required" if field.is_required() else json.dumps(_plain(default)),
        field.description or "",
    )


def _plain(default: object) -> object:
    if isinstance(default, tuple | frozenset | set):
        return list(default)
    return default if isinstance(default, str | int | float | list | dict | None) else str(default)


def _from_file(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        values = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsWrong(
            f"The settings file {file} cannot be read: {error}. Mend it or name another."
        ) from error
    return values, dict.fromkeys(values, f"file {file}")


def _from_text(text: str, env_name: str, field: FieldInfo | None) -> Any:  # noqa: ANN401  (for the model)
    kind = _kind(field) if field else str
    if kind not in {list, dict}:
        return text
    if kind is list and text[:1] != "[":
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except ValueError as error:
        remedy = 'write a list as ["a", "b"], a map as {"a": 1}'
        raise SettingsWrong(f"Environment variable {env_name} is no JSON ({error}): {remedy}.") from error


def _kind(field: FieldInfo) -> type:
    """``list`` or ``dict`` for what is written as JSON, else ``str``."""
    annotation = field.annotation
    is_union = get_origin(annotation) in {Union, UnionType}
    for option in get_args(annotation) if is_union else (annotation,):
        plain = get_origin(option) or option
        if plain in {list, tuple, set, frozenset}:
            return list
        if plain is dict or (isinstance(plain, type) and issubclass(plain, BaseModel)):
            return dict
    return str


def _refuse_unknown(
    model: type[AgentSettings], values: Mapping[str, Any], sources: Mapping[str, str]
) -> None:
    for name in values:
        if name not in model.model_fields:
            near = get_close_matches(name, model.model_fields, n=1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"known are: {', '.join(sorted(model.model_fields))}."
            )
            raise SettingsWrong(f"Unknown setting {name!r} in {sources[name]}: {hint}")


def _sentence(error: ValidationError, sources: Mapping[str, str], prefix: str) -> str:
    first = error.errors(include_url=False)[0]
    why = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # a rule about several settings; its text names them
        return f"The settings contradict each other: {why}."
    top, name = str(first["loc"][0]), ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing" and name == top:
        return f"Setting {name!r} is missing: set it in the file or as {prefix}{name.upper()}."
    where = sources.get(top, "its default")
    given = HIDDEN if names_secret(top) else repr(shown(name, first["input"]))
    return f"Setting {name!r} from {where} is wrong: {why} (given: {given})."
