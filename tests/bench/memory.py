"""What processes weigh: agents at rest, a holder, an executor beside its holder."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from horde_agents.cli.embedded import EmbeddedHorde
from tests.bench.figures import Figure

_MIB = 1024.0
_FORKS = """
import gc, os, struct, time
import horde_agents.agents.executor.holder
gc.collect(), gc.freeze()
for _ in range(20):
    reading, writing = os.pipe()
    begun = time.monotonic()
    if not os.fork():
        os.write(writing, struct.pack("d", time.monotonic()))
        os._exit(0)
    print(struct.unpack("d", os.read(reading, 8))[0] - begun)
    os.wait()
"""


def agent_figures(horde: EmbeddedHorde) -> list[Figure]:
    """Resident memory of each agent at rest."""
    goals = {"facilitator": 150, "miner": 150, "validator": 300}
    return [
        Figure(f"{name} at rest", _status_mib(horde.processes[name].pid, "VmRSS"), goal, "MiB")
        for name, goal in goals.items()
    ]


def executor_figures(horde: EmbeddedHorde) -> list[Figure]:
    """A holder's weight, and what an executor adds to it; import time against aiohttp's alone."""
    holders = _children(horde.processes["miner"].pid)
    executors = [child for holder in holders for child in _children(holder)]
    own = [_rollup_mib(pid, "Private_Dirty") for pid in executors]
    ours, aiohttp = [], []
    for _ in range(5):
        ours.append(_import_s("horde_agents.agents.executor.holder"))
        aiohttp.append(_import_s("aiohttp"))
    return [
        Figure("holder resident", median(_status_mib(pid, "VmRSS") for pid in holders), 80, "MiB"),
        Figure("executor's own memory beside its holder", median(own), 20, "MiB"),
        Figure("holder import / aiohttp import", median(ours) / median(aiohttp), 3, "x"),
        Figure("an executor forked", median(_forks_s()), 0.1, "s"),
    ]


def _forks_s() -> list[float]:
    """Seconds from a holder's fork until its child runs, in a process that has imported what a holder has."""
    said = subprocess.run([sys.executable, "-c", _FORKS], check=True, capture_output=True, text=True)
    return [float(line) for line in said.stdout.split()]


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def _status_mib(pid: int, field: str) -> float:
    return status_kib(pid, field) / _MIB


def status_kib(pid: int, field: str) -> int:
    """A line of the kernel's status of a process, such as ``VmRSS``."""
    return _field_kib(Path(f"/proc/{pid}/status"), field)


def _rollup_mib(pid: int, field: str) -> float:
    return _field_kib(Path(f"/proc/{pid}/smaps_rollup"), field) / _MIB


def _field_kib(path: Path, field: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1])


def _import_s(module: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - begun
