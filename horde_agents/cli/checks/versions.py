"""Programs here and servers of the cluster, against the lowest versions that are fit (``floors.toml``)."""

import datetime
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from horde_agents.cli.checks.finding import Finding, fine, wrong

_ANSWER_S: Final = 10.0
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)+|\d+")


@dataclass(frozen=True, slots=True)
class Floor:
    """The lowest version of a program that is fit, and why; the file says more of each field."""

    name: str
    lowest: str
    ask: tuple[str, ...]
    because: str
    remedy: str
    source: str
    as_of: datetime.date


@cache
def floors() -> Mapping[str, Floor]:
    """All floors by name."""
    text = resources.files("horde_agents.cli.checks").joinpath("floors.toml").read_text()
    rows = tomllib.loads(text)["floor"]
    return {row["name"]: Floor(**{**row, "ask": tuple(row["ask"])}) for row in rows}


def local_findings() -> Iterator[Finding]:
    """Every program with a floor that is installed here."""
    for floor in floors().values():
        said = _version_said(floor.ask)
        if said is not None:
            yield _judged(floor, [("this machine", said)])


def cluster_finding(name: str, versions: Iterable[tuple[str, str]]) -> Finding | None:
    """``versions`` are (where, version); nothing is said where none is known."""
    known = sorted(versions)
    return _judged(floors()[name], known) if known else None


def numbers(version: str) -> tuple[int, ...]:
    """The first numbers in a text with a version, such as (1, 3, 3); nothing where it has none."""
    found = _NUMBERS.search(version)
    return tuple(map(int, found.group().split("."))) if found else ()


def _judged(floor: Floor, versions: Sequence[tuple[str, str]]) -> Finding:
    old = [(where, version) for where, version in versions if numbers(version) < numbers(floor.lowest)]
    if old:
        those = ", ".join(f"{where} has {version}" for where, version in old)
        return wrong(floor.name, f"{those}; below {floor.lowest} {floor.because}. {floor.remedy}")
    return fine(floor.name, ", ".join(sorted({version for _, version in versions})))


def _version_said(command: Sequence[str]) -> str | None:
    """The version that the program tells, as it writes it; ``None`` where there is no such program."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _NUMBERS.search(told.stdout)
    return found.group() if found else None
