"""Runs Ansible's programs of the pinned environment from the checkout, as the tests of provisioning do.

    python -m tools.provision lint                       both linters, and the syntax of both inventories
    python -m tools.provision test                       all of molecule's scenarios, one after another
    python -m tools.provision test SCENARIO [WORD …]     one of them: all of it, or what the words say

Owns where their environment, their programs and their temporary files are; what is tested is in molecule/.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from horde_agents.testing.wallets import hotkey_file
from tools.setup.places import ROOT
from tools.setup.provision import provision_folder
from tools.setup.servers import CONSUL, FAKE_GPUS, NOMAD, VERSITYGW, program

INVENTORIES: Final = ("local", "example")
_SHARED: Final = ".config/molecule/config.yml"
#: whose hotkeys the scenarios with agents need
_KEYS: Final = ("validator", "miner", "miner2", "trusted_miner", "user")


def main(words: list[str]) -> int:
    """The status of the first program that failed; 2 when the words are wrong."""
    match words:
        case ["lint"]:
            return lint()
        case ["test"]:
            return next((status for name in scenarios() if (status := molecule(name, ["test"]))), 0)
        case ["test", scenario, *more] if scenario in scenarios():
            return molecule(scenario, more or ["test"])
        case _:
            print(__doc__ + f"\nScenarios: {', '.join(scenarios())}", file=sys.stderr)
            return 2


def lint() -> int:
    """0 when neither linter has anything to say and both inventories can be used."""
    commands: list[list[str]] = [["yamllint", "--strict", "."], ["ansible-lint", "-q"]]
    commands += [
        ["ansible-playbook", "--syntax-check", "-i", f"inventories/{name}", "site.yml"]
        for name in INVENTORIES
    ]
    for command in commands:
        if status := run(command):
            return status
    return 0


def scenarios() -> list[str]:
    """The names of molecule's scenarios."""
    return sorted(file.parent.name for file in (ROOT / "molecule").glob("*/molecule.yml"))


def molecule(scenario: str, words: Sequence[str]) -> int:
    """Run molecule with the programs that set-up built and hotkeys that follow from names; its status."""
    with tempfile.TemporaryDirectory(prefix="horde-provision-") as place:
        folder = Path(place)
        listed = folder / "programs.json"
        listed.write_text(json.dumps(programs()))
        hotkeys = {name: hotkey_file(folder, name)[1].hotkey for name in _KEYS}
        (folder / "hotkeys.json").write_text(json.dumps(hotkeys))
        # molecule itself finds it only where there is a .git
        command = ["molecule", "--base-config", _SHARED, *words, "--scenario-name", scenario]
        return run(command, HORDE_PROGRAMS=str(listed), HORDE_KEYS=place)


def programs() -> dict[str, dict[str, str]]:
    """Name → file and SHA-256 of what the scenarios install."""
    files = {server.name: program(server) for server in (NOMAD, CONSUL, FAKE_GPUS, VERSITYGW)}
    return {name: {"file": str(file), "sha256": _sha256(file)} for name, file in files.items()}


def run(command: Sequence[str], **more: str) -> int:
    """Run a program of the environment in the checkout; return its status."""
    folder = provision_folder() / "bin"
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **more}
    environ.pop("ANSIBLE_CONFIG", None)  # the checkout's own
    # each playbook says how long it took
    environ.setdefault("ANSIBLE_CALLBACKS_ENABLED", "ansible.posix.timer")
    return subprocess.run([folder / command[0], *command[1:]], cwd=ROOT, env=environ, check=False).returncode


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
