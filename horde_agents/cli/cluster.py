"""A whole horde on this machine with a real Nomad and a real Consul: what ``horde demo --cluster`` starts.

The gpu nodes' GPUs are listed in a file instead of being there; Nomad schedules them as real ones.
"""

import getpass
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from horde_agents.cli.embedded import EmbeddedHorde, EmbeddedPlan, embedded_horde
from horde_agents.testing.consul_server import ConsulServer, consul_cluster
from horde_agents.testing.nomad_server import FakeGpu, GpuNodeAgent, NomadServer, end_all_jobs, nomad_cluster

HORDE: Final = "demo"
GPU_CLASS: Final = "always_on.llm.a6000"
#: Nomad's docker driver removes images that nothing uses after three minutes, those of others, too.
_KEEP_IMAGES: Final = """
    plugin "docker" {
      config {
        gc {
          image = false
        }
      }
    }
"""
_PROGRAMS: Final = ("nomad", "consul", "horde-fake-gpus", "versitygw")


class ProgramMissing(Exception):
    """A server program is not here; the text names it and the remedy."""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What to start: ``gpus`` by gpu node, ``slots`` as in the miners' settings, servers of each kind.

    ``drivers`` are Nomad's on the gpu nodes; holders need raw_exec alone.
    """

    gpus: Mapping[str, Sequence[FakeGpu]]
    slots: Mapping[str, int]
    miners: Sequence[str] = ("miner", "miner-2")
    servers: int = 1
    overrides: Mapping[str, Mapping[str, Any]] | None = None
    drivers: Sequence[str] = ("raw_exec",)


@dataclass(frozen=True, slots=True)
class ClusterHorde:
    """A running cluster with the horde on it."""

    horde: EmbeddedHorde
    consul: Sequence[ConsulServer]
    nomad: Sequence[NomadServer]
    nodes: Mapping[str, GpuNodeAgent]


def programs() -> dict[str, Path]:
    """Where the server programs are: as set-up has noted, else on the PATH.

    Raises:
        ProgramMissing: one is nowhere.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "horde" / "servers.json"
    noted = json.loads(cache.read_text()) if cache.exists() else {}
    found = {}
    for name in _PROGRAMS:
        where = noted.get(name) or shutil.which(name)
        if where is None or not Path(where).exists():
            raise ProgramMissing(f"The program {name} is not here. Run `make tools` in Horde's folder.")
        found[name] = Path(where)
    return found


@contextmanager
def cluster_horde(folder: Path, plan: ClusterPlan) -> Iterator[ClusterHorde]:
    """Start everything below ``folder``, wait until it is ready, and end all of it with the block.

    Raises:
        ProgramMissing, ServerNotUp, EmbeddedFailed: something is missing or did not become ready.
    """
    known = programs()
    consul = consul_cluster(known["consul"], folder / "consul", plan.servers)
    nomad = nomad_cluster(known["nomad"], folder / "nomad", plan.servers)
    nodes = {
        name: GpuNodeAgent(
            known["nomad"],
            known["horde-fake-gpus"],
            folder / "nodes" / name,
            name,
            [server.rpc_address for server in nomad],
            gpus,
            drivers=plan.drivers,
            extra=_KEEP_IMAGES if "docker" in plan.drivers else "",
        )
        for name, gpus in plan.gpus.items()
    }
    with ExitStack() as stack:
        servers: list[ConsulServer | NomadServer | GpuNodeAgent] = [*consul, *nomad]
        for server in servers:
            stack.callback(server.process.stop)
            server.start()
        for server in servers:
            server.wait_ready()
        for node in nodes.values():
            stack.callback(node.end)
            node.start()
        stack.callback(end_all_jobs, nomad)
        for node in nodes.values():
            node.wait_ready()
        settings = _miner_settings(folder, plan, consul, nomad)
        overrides = {**(plan.overrides or {})}
        for name in plan.miners:
            overrides[name] = {**settings, **overrides.get("miner", {}), **overrides.get(name, {})}
        horde = stack.enter_context(
            embedded_horde(folder, EmbeddedPlan(overrides=overrides, miners=plan.miners))
        )
        yield ClusterHorde(horde, consul, nomad, nodes)


def _miner_settings(
    folder: Path, plan: ClusterPlan, consul: Sequence[ConsulServer], nomad: Sequence[NomadServer]
) -> dict[str, Any]:
    return {
        "horde": HORDE,
        "pool": "nomad",
        "slots": dict(plan.slots),
        "nomad_urls": [server.url for server in nomad],
        "consul_urls": [server.url for server in consul],
        "consul_service": "horde-miner",
        "holder_variables": {
            "user": getpass.getuser(),
            "command": sys.executable,
            "work_dir": str(folder / "slots"),
        },
        "executor_env": {
            "HORDE_EXECUTOR_ALLOW_PRIVATE_ADDRESSES": "true",
            "HORDE_EXECUTOR_GPUS_ARE_FAKE": "true",
        },
    }
