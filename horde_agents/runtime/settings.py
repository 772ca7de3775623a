"""Reads an agent's settings from one TOML file and the environment, and refuses what it does not know.

A setting ``port`` of the agent ``miner`` comes from ``HORDE_MINER_PORT``, else from the file, else it
has its default. Lists and maps are JSON in the environment.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

S = TypeVar("S", bound="AgentSettings")


class AgentSettings(BaseModel):
    """What every agent's settings model derives from; values never change after start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SettingsWrong(Exception):
    """A setting is unknown or has a wrong value; the text names it, where it came from and the remedy."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of the settings reference."""

    name: str
    env_name: str
    type_name: str
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
            values[name] = _from_text(text)
            sources[name] = f"environment variable {env_name}"
    _refuse_unknown(model, values, sources)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsWrong(_sentence(error, sources, prefix)) from error


def settings_rows(model: type[AgentSettings], agent: str) -> list[SettingRow]:
    """Every setting of ``model``, for the reference page."""
    return [
        SettingRow(
            name,
            f"HORDE_{agent.upper()}_{name.upper()}",
            getattr(field.annotation, "__name__", str(field.annotation)),
            "required" if field.is_required() else repr(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for name, field in model.model_fields.items()
    ]


def _from_file(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        values = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsWrong(
            f"The settings file {file} cannot be read: {error}. Mend it or name another."
        ) from error
    return values, dict.fromkeys(values, f"file {file}")


def _from_text(text: str) -> Any:  # noqa: ANN401  (whatever JSON holds; the model judges it)
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


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
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if first["type"] == "missing":
        return f"Setting {name!r} is missing: set it in the file or as {prefix}{name.upper()}."
    where = sources.get(name, "its default")
    return f"Setting {name!r} from {where} is wrong: {first['msg']} (given: {first['input']!r})."
