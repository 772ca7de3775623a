"""The doctor's checks of a machine need nothing but Python, as the playbook brings them there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from horde_agents.cli.checks import on_machine
from tools.setup.places import ROOT


def run(folder: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run it with no package of anybody's on the path."""
    command = [sys.executable, "-S", "-m", "horde_agents.cli.checks.on_machine", *words]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return ran.returncode, json.loads(ran.stdout)


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """What the playbook copies, and no more."""
    for name in ("horde_agents/__init__.py", "horde_agents/cli/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "horde_agents/cli/checks", tmp_path / "horde_agents/cli/checks")
    return tmp_path


def test_it_needs_python_alone(brought: Path) -> None:
    code, found = run(brought, "--profile", "test", "--waive", "disk")
    assert {"Python", "clock"} <= {finding["check"] for finding in found}
    assert code == (0 if all(finding["fine"] for finding in found) else 1)
    assert next(finding for finding in found if finding["check"] == "Python")["fine"]


def test_a_miner_that_is_not_there_is_named_with_the_remedy(brought: Path) -> None:
    code, (found,) = run(brought, "--miner", "127.0.0.1:9")
    assert (code, found["check"], found["fine"]) == (1, "miner 127.0.0.1:9", False)
    assert "open the port in the firewall" in found["says"]


def test_a_profile_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        on_machine.main(["--profile", "tests"])
    assert "'test'" in capsys.readouterr().err
