"""A real Nomad with one gpu node on loopback: fake GPUs, raw_exec, Docker, and a Consul with ACLs."""

import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from horde_agents.testing.consul_server import ConsulServer
from horde_agents.testing.nomad_server import NomadServer
from horde_agents.testing.server_process import ServerProcess, free_ports
from tools.setup.servers import CONSUL, FAKE_GPUS, NOMAD, program

GPUS = [
    {"uuid": f"GPU-{number}", "name": "NVIDIA RTX A6000", "memory_mib": 49140, "driver_version": "580.95.05"}
    for number in range(3)
]
#: Neither other tests' images nor their containers are this client's.
PLUGINS = """
plugin "raw_exec" {
  config {
    enabled = true
  }
}
plugin "docker" {
  config {
    gc {
      image = false
      dangling_containers {
        enabled = false
      }
    }
  }
}
plugin "horde-fake-gpus" {}
"""
#: Consul's management token in these tests.
TOKEN = str(uuid.uuid4())
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GpuNode:
    """Nomad's HTTP interface, as far as these tests ask it."""

    url: str

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Nomad's answer; raises OSError where there is none or a refusal."""
        return json.loads(self.text(method, f"v1/{path}", body) or "null")

    def text(self, method: str, path: str, body: object = None) -> str:
        """The answer as it came."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return str(reply.read().decode())

    def run(self, job: dict[str, Any]) -> None:
        """Register a job."""
        self.call("POST", "jobs", {"Job": job})

    def allocation(self, nomad_job: str) -> dict[str, Any] | None:
        """The allocation of the job as it was registered last."""
        version = self.call("GET", f"job/{nomad_job}")["Version"]
        found = self.call("GET", f"job/{nomad_job}/allocations")
        return next((each for each in found if each["JobVersion"] == version), None)

    def ended(self, nomad_job: str) -> dict[str, Any]:
        """The job's allocation once it has ended."""
        return until(lambda: over(self.allocation(nomad_job)), f"{nomad_job} ends")

    def log(self, nomad_job: str, task: str, stream: str = "stdout") -> str:
        """What the job's newest allocation has written."""
        allocation = self.allocation(nomad_job)
        assert allocation is not None
        where = f"v1/client/fs/logs/{allocation['ID']}"
        return self.text("GET", f"{where}?task={task}&type={stream}&plain=true&origin=start")

    def events(self, nomad_job: str, task: str) -> str:
        """What Nomad says of the newest allocation's task, and what that wrote last."""
        allocation = self.allocation(nomad_job)
        if allocation is None:
            return "it has no allocation"
        said = ((allocation["TaskStates"] or {}).get(task) or {}).get("Events") or []
        lines = [event["DisplayMessage"] for event in said]
        lines += [self.log(nomad_job, task, stream)[-2_000:] for stream in ("stdout", "stderr")]
        return "\n".join(lines)


def over(allocation: dict[str, Any] | None) -> dict[str, Any] | None:
    return allocation if allocation and allocation["ClientStatus"] in {"complete", "failed"} else None


def until(condition: Callable[[], T | None], what: str, wait_s: float = 60) -> T:
    """The first answer of ``condition`` that counts as true."""
    deadline_s = time.monotonic() + wait_s
    why: object = None
    while time.monotonic() < deadline_s:
        try:
            if answer := condition():
                return answer
        except urllib.error.HTTPError as error:
            error.close()
            why = error
        except OSError as error:
            why = error
        time.sleep(0.2)
    raise AssertionError(f"not within {wait_s:.0f} s: {what} ({why})")


@pytest.fixture(scope="session")
def locked_consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A Consul that refuses whoever has no token."""
    server = ConsulServer(program(CONSUL), tmp_path_factory.mktemp("consul"), management_token=TOKEN)
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.process.stop()


@pytest.fixture(scope="session")
def gpu_node(locked_consul: ConsulServer) -> Iterator[GpuNode]:
    # a short path: sockets in an allocation's directory may have no more than 108 characters
    with tempfile.TemporaryDirectory(prefix="hn-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "gpus.json").write_text(json.dumps(GPUS))
        (folder / "plugins.hcl").write_text(PLUGINS)
        server = NomadServer(program(NOMAD), folder / "server", extra=_consul_of_server(locked_consul))
        node = GpuNode(server.url)
        client = _client(folder, locked_consul, server.rpc_address)
        try:
            server.start()
            server.wait_ready()
            _let_jobs_log_in(locked_consul, node)
            client.start()
            until(lambda: _is_fit(node, client), f"a gpu node; see {client.log}")
            yield node
            _empty(node)
        finally:
            client.stop()
            server.process.kill()
            _unmount(folder)


def _consul_of_server(consul: ConsulServer) -> str:
    return f"""
        consul {{
          address = "{consul.url.removeprefix("http://")}"
          token   = "{TOKEN}"
        }}
    """


def _client(folder: Path, consul: ConsulServer, server_address: str) -> ServerProcess:
    """A gpu node that runs containers, too, and whose services Consul shows."""
    names = ("http", "rpc", "serf")
    config = {
        "name": "gpu-node",
        "bind_addr": "127.0.0.1",
        "advertise": dict.fromkeys(names, "127.0.0.1"),
        "data_dir": str(folder / "client"),
        "plugin_dir": str(program(FAKE_GPUS).parent),
        "ports": dict(zip(names, free_ports(len(names)), strict=True)),
        "disable_update_check": True,
        "consul": {"address": consul.url.removeprefix("http://"), "token": TOKEN},
        "client": {
            "enabled": True,
            "node_pool": "horde-gpu",
            "servers": [server_address],
            "host_network": [{"loopback": {"cidr": "127.0.0.0/8"}}],
            "max_kill_timeout": "2m",
            "options": {"fingerprint.denylist": "env_aws,env_gce,env_azure,env_digitalocean"},
        },
    }
    (folder / "client.json").write_text(json.dumps(config))
    files = [f"-config={folder / file}" for file in ("client.json", "plugins.hcl")]
    # as where Nomad itself runs in a container with GPUs: no task may take that for its own
    environment = {"HORDE_FAKE_GPUS": str(folder / "gpus.json"), "NVIDIA_VISIBLE_DEVICES": "all"}
    return ServerProcess([str(program(NOMAD)), "agent", *files], folder / "client.log", environment)


def _let_jobs_log_in(consul: ConsulServer, node: GpuNode) -> None:
    """What an operator does once: Consul takes the identities that Nomad gives to allocations."""
    command: list[str | Path] = [
        program(NOMAD),
        "setup",
        "consul",
        "-y",
        "-jwks-url",
        f"{node.url}/.well-known/jwks.json",
    ]
    environment = {**os.environ, "CONSUL_HTTP_ADDR": consul.url, "CONSUL_HTTP_TOKEN": TOKEN}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def _is_fit(node: GpuNode, client: ServerProcess) -> bool:
    client.check_runs()
    (one,) = node.call("GET", "nodes?resources=true") or [None]
    return bool(
        one
        and one["Status"] == "ready"
        and one["NodeResources"]["Devices"]
        and all(one["Drivers"].get(driver, {}).get("Healthy") for driver in ("raw_exec", "docker"))
    )


def _empty(node: GpuNode) -> None:
    """End what still runs, and have its directories removed: they have mounts."""
    allocations = [row["ID"] for row in node.call("GET", "allocations")]
    for job in node.call("GET", "jobs"):
        node.call("DELETE", f"job/{job['ID']}?purge=true")
    _remove_containers(allocations)
    until(lambda: all(map(over, node.call("GET", "allocations"))), "all allocations end")
    node.call("PUT", "system/gc")
    until(lambda: not node.call("GET", "allocations"), "allocations are forgotten")


def _remove_containers(allocations: list[str]) -> None:
    """End them at once: Nomad forgets a purged job's allocation while its container still has time to end."""
    for allocation in allocations:
        label = f"label=com.hashicorp.nomad.alloc_id={allocation}"
        listed = subprocess.run(["docker", "ps", "-aq", "--filter", label], capture_output=True, check=True)
        for container in listed.stdout.decode().split():
            subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=True)


def _unmount(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in (each for each in mounts if each.startswith(f"{folder}/")):
        subprocess.run(["umount", "--lazy", mount], check=False)
