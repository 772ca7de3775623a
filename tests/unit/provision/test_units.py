"""What the roles run on a machine is looked at by the doctor, and is in the archive of logs."""

import re
from pathlib import Path

import pytest

from horde_agents.cli.checks.certificates import PLACES
from horde_agents.cli.checks.units import UNITS
from tools.setup.places import ROOT

_TEMPLATES = [file.name.removesuffix(".j2") for file in ROOT.glob("roles/*/templates/*.*.j2")]
_TIMERS = {name for name in _TEMPLATES if name.endswith(".timer")}
#: Runs once when the machine has started, and has nothing to run afterwards.
_ONCE = {"horde-nvidia-cdi.service"}
_OURS = {name for name in _TEMPLATES if name.endswith(".service")} - _ONCE


@pytest.mark.parametrize("unit", sorted(_OURS))
def test_the_doctor_looks_at_each_unit_or_at_the_timer_that_starts_it(unit: str) -> None:
    timer = unit.replace(".service", ".timer")
    assert (timer if timer in _TIMERS else unit) in UNITS


@pytest.mark.parametrize("unit", [*UNITS, *sorted(_ONCE)])
def test_the_archive_of_logs_has_what_each_unit_says(unit: str) -> None:
    told = (ROOT / "playbooks" / "tasks" / "logs_machine.yml").read_text()
    gathered = re.search(r"for unit in (.*?); do", told, re.DOTALL)
    assert gathered
    assert unit.rpartition(".")[0] in gathered[1].split()


@pytest.mark.parametrize("folder", PLACES, ids=str)
def test_the_node_exporter_tells_of_the_certificates_that_the_doctor_looks_at(folder: Path) -> None:
    script = (ROOT / "roles/monitoring/templates/horde-certificates.sh.j2").read_text()
    told = re.search(r"for file in (.*?); do", script, re.DOTALL)
    assert told
    assert any((folder / "some.pem").match(pattern) for pattern in told[1].split())
