"""Checks the job specs as Nomad itself does: their form, and each against a real server.

    python -m tools.check_jobs

The server lives for the check alone, on free loopback ports; without one Nomad would not look at node pools.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from horde_agents.agents.miner.nomad.holder_jobs import class_variables
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.testing.server_process import ServerNotUp, ServerProcess, free_ports
from tools.nomad_specs import FOLDER, NAMES, example_file, spec_file, words
from tools.setup.servers import NOMAD, program

_READY_S: Final = 30.0
_NODE_POOL: Final = "horde-gpu"


def main() -> int:
    """0 when Nomad has nothing to say against any job."""
    nomad = program(NOMAD)
    wrong = (
        [] if _run(nomad, "fmt", "-check", "-recursive", FOLDER) is None else ["nomad fmt would change files"]
    )
    with tempfile.TemporaryDirectory(prefix="horde-check-jobs-") as folder, nomad_server(Path(folder)) as url:
        for name, options in _cases():
            if said := _run(nomad, "job", "validate", f"-address={url}", *options, spec_file(name)):
                wrong.append(f"{name} {' '.join(options)}: {said}")
    print("\n".join(wrong) or f"{len(_cases())} Nomad jobs are valid")
    return 1 if wrong else 0


@contextmanager
def nomad_server(folder: Path) -> Iterator[str]:
    """A Nomad server without clients, that knows the gpu nodes' pool; its address.

    Raises:
        ServerNotUp: it ended, or has no leader in time.
    """
    http, rpc, serf = free_ports(3)
    url = f"http://127.0.0.1:{http}"
    (folder / "nomad.json").write_text(json.dumps(_config(folder, http, rpc, serf)))
    server = ServerProcess([str(program(NOMAD)), "agent", f"-config={folder / 'nomad.json'}"], folder / "log")
    server.start()
    try:
        _make_node_pool(url, folder, server)
        yield url
    finally:
        server.stop(signal.SIGKILL)  # there is nothing to keep


def _config(folder: Path, http: int, rpc: int, serf: int) -> dict[str, Any]:
    return {
        "name": "check-jobs",
        "bind_addr": "127.0.0.1",
        "advertise": dict.fromkeys(("http", "rpc", "serf"), "127.0.0.1"),
        "data_dir": str(folder / "data"),
        "ports": {"http": http, "rpc": rpc, "serf": serf},
        "server": {"enabled": True, "bootstrap_expect": 1, "raft_multiplier": 1},
        "disable_update_check": True,
    }


def _make_node_pool(url: str, folder: Path, server: ServerProcess) -> None:
    """The first thing that needs a leader, so it waits for one."""
    (folder / "pool.hcl").write_text(f'node_pool "{_NODE_POOL}" {{}}\n')
    deadline_s = time.monotonic() + _READY_S
    while said := _run(program(NOMAD), "node", "pool", "apply", f"-address={url}", folder / "pool.hcl"):
        server.check_runs()
        if time.monotonic() > deadline_s:
            raise ServerNotUp(f"Nomad takes no node pool after {_READY_S:.0f} s: {said}")
        time.sleep(0.1)


def _cases() -> list[tuple[str, list[str]]]:
    """Each job with its example, and the holder of every class."""
    examples = [(name, [f"-var-file={example_file(name)}"]) for name in NAMES]
    return examples + [("holder", words(class_variables(row))) for row in CATALOGUE.values()]


def _run(*command: str | Path) -> str | None:
    """What a command that failed said; none when it did not fail."""
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"{asked.stdout}\n{asked.stderr}".strip()
    return None if asked.returncode == 0 else said


if __name__ == "__main__":
    sys.exit(main())
