"""The job specs in ``nomad_jobs``: which there are, their variables, and what Nomad makes of them."""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.setup.places import ROOT
from tools.setup.servers import NOMAD, program

FOLDER: Final = ROOT / "nomad_jobs"
NAMES: Final = ("facilitator", "validator", "miner", "holder", "image_prefetch", "gpu_probe")
#: ``nomad fmt`` puts every variable into this shape.
_VARIABLE: Final = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)


class SpecRefused(Exception):
    """Nomad refuses a job; the text is what it says."""


@dataclass(frozen=True, slots=True)
class SpecVariable:
    """One variable of a job; ``default`` is none where one has to be given."""

    name: str
    type_name: str
    description: str
    default: str | None


def spec_file(name: str) -> Path:
    """The job's file."""
    return FOLDER / f"{name}.nomad.hcl"


def example_file(name: str) -> Path:
    """Variables with which the job can be checked, and from which an operator may start."""
    return FOLDER / "examples" / f"{name}.vars.hcl"


def headline(name: str) -> str:
    """What the job's file says about itself at its head."""
    comment = re.match(r"(?:# .*\n)+", spec_file(name).read_text())
    assert comment is not None, f"{spec_file(name)} begins with no comment"
    return " ".join(line.removeprefix("# ") for line in comment.group().splitlines())


def variables(name: str) -> list[SpecVariable]:
    """The job's variables in the order of the file."""
    return [_variable(*found.groups()) for found in _VARIABLE.finditer(spec_file(name).read_text())]


def words(given: Mapping[str, Any]) -> list[str]:
    """``given`` as arguments of Nomad's commands; JSON is HCL's own writing, but for ``${``."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return [f"-var={name}={text}" for name, text in texts.items()]


def parsed(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The job that Nomad would be sent, for the variables ``given``.

    Raises:
        SpecRefused: a variable is missing or wrong.
    """
    command: list[str | Path] = [program(NOMAD), "job", "run", "-output", *words(given), spec_file(name)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise SpecRefused(asked.stderr.strip())
    job: dict[str, Any] = json.loads(asked.stdout)["Job"]
    return job


def _variable(name: str, body: str) -> SpecVariable:
    kind = re.search(r"^  type += (.*)$", body, re.MULTILINE)
    said = re.search(r'^  description += "(.*)"$', body, re.MULTILINE)
    default = re.search(r"^  default += (.*)$", body, re.MULTILINE)
    assert kind is not None, f"variable {name} has no type"
    return SpecVariable(name, kind[1], said[1] if said else "", default[1] if default else None)
