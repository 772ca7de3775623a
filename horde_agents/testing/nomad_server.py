"""Real Nomad servers and gpu nodes on loopback ports, for the cluster demo and for tests.

A gpu node has the GPUs that a file lists, through the fake device plugin; what Nomad schedules on it is real.
"""

import json
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from horde_agents.testing.certificates import Certificates
from horde_agents.testing.server_process import ServerNotUp, ServerProcess, free_ports

NODE_POOL: Final = "horde-gpu"
_READY_S: Final = 60.0
_END_JOBS_S: Final = 30.0
_ALIVE: Final = frozenset({"pending", "running"})
#: Tokens may be as short-lived as a test.
_ACCESS_CONTROL: Final = """
            acl {
              enabled                  = true
              token_min_expiration_ttl = "1s"
            }
"""
_PORTS: Final = ("http", "rpc", "serf")
#: Clouds that a node on loopback is not in, and a Consul that it does not use.
_NOT_LOOKED_FOR: Final = "env_aws,env_azure,env_digitalocean,env_gce,consul,vault,cni"


@dataclass(frozen=True, slots=True)
class FakeGpu:
    """One GPU that a gpu node shall have."""

    uuid: str
    name: str = "NVIDIA RTX A6000"
    memory_mib: int = 49140
    driver_version: str = "580.95.05"
    healthy: bool = True


@dataclass(slots=True)
class NomadServer:
    """One Nomad server; several with ``joins`` are a cluster.

    With ``certificates`` it speaks TLS alone and asks for a client's certificate; with ``management_token``
    it denies everything that no token allows.
    """

    program: Path
    folder: Path
    name: str = "nomad"
    cluster_size: int = 1
    extra: str = ""
    joins: list[str] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    certificates: Certificates | None = None
    management_token: str = ""
    process: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.ports:
            self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.process = _agent(self.program, self.folder)

    @property
    def url(self) -> str:
        """Where its HTTP interface, and Nomad's UI, listens."""
        return f"{'https' if self.certificates else 'http'}://127.0.0.1:{self.ports['http']}"

    def start(self) -> None:
        """Write its configuration and start it."""
        joins = json.dumps(self.joins)
        text = f"""
            {_shared(self.name, self.folder, self.ports)}
            server {{
              enabled          = true
              bootstrap_expect = {self.cluster_size}
              raft_multiplier  = 1
              heartbeat_grace  = "5s"
              server_join {{
                retry_join     = {joins}
                retry_interval = "1s"
              }}
            }}
            {self._tls()}
            {_ACCESS_CONTROL if self.management_token else ""}
            {self.extra}
        """
        _write(self.folder, text)
        self.process.start()

    def wait_ready(self) -> None:
        """Wait until the cluster has a leader and its keys: a node that comes earlier is refused for 25 s.

        With access control, until it knows its management token, too.

        Raises:
            ServerNotUp: it ended, or there is no leader in time.
        """
        _wait(self._takes_nodes, self.process, "Nomad has no leader, or no keys,")
        if self.management_token:
            _wait(self._knows_its_token, self.process, "Nomad does not take its management token")

    def has_leader(self) -> bool:
        """Whether this server knows a leader."""
        return bool(self.leader())

    def _takes_nodes(self) -> bool:
        keys = self.ask("GET", "/.well-known/jwks.json") if self.has_leader() else None
        return bool(keys and keys["keys"])

    def leader(self) -> str:
        """The leader's RPC address; empty when there is none."""
        return str(self.ask("GET", "/v1/status/leader") or "")

    def make_node_pool(self) -> None:
        """Have the horde's node pool before its first node comes."""
        self.ask("POST", "/v1/node/pools", {"Name": NODE_POOL})

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  (JSON)
        """Ask it as its operator; ``None`` without a good answer."""
        trust = self.certificates.trust() if self.certificates else None
        return _ask(method, self.url + path, body, self.management_token, trust)

    @property
    def rpc_address(self) -> str:
        """Its own address as ``leader`` says it."""
        return f"127.0.0.1:{self.ports['rpc']}"

    def _knows_its_token(self) -> bool:
        if self.ask("GET", "/v1/acl/token/self") is not None:
            return True
        self.ask("POST", "/v1/acl/bootstrap", {"BootstrapSecret": self.management_token})
        return False

    def _tls(self) -> str:
        ours = self.certificates
        if ours is None:
            return ""
        return f"""
            tls {{
              http                   = true
              rpc                    = true
              ca_file                = "{ours.ca}"
              cert_file              = "{ours.server}"
              key_file               = "{ours.server_key}"
              verify_server_hostname = true
              verify_https_client    = true
            }}
        """


@dataclass(slots=True)
class GpuNodeAgent:
    """One Nomad client with GPUs from a file, in the horde's node pool.

    What runs on it outlives it, as on a real one: ``end_all_jobs`` goes before its end.
    """

    program: Path
    plugin: Path
    folder: Path
    name: str
    servers: Sequence[str]
    gpus: Sequence[FakeGpu] = ()
    drivers: Sequence[str] = ("raw_exec",)
    extra: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    process: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.ports:
            self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.process = _agent(self.program, self.folder, {"HORDE_FAKE_GPUS": str(self._gpu_file)})

    @property
    def url(self) -> str:
        """Where its HTTP interface listens."""
        return f"http://127.0.0.1:{self.ports['http']}"

    def start(self) -> None:
        """Write its configuration and start it."""
        plugins = self.folder / "plugins"
        plugins.mkdir(exist_ok=True)
        link = plugins / self.plugin.name
        if not link.exists():
            link.hardlink_to(self.plugin)
        self.show(self.gpus)
        text = f"""
            {_shared(self.name, self.folder, self.ports)}
            plugin_dir = "{plugins}"
            client {{
              enabled           = true
              node_pool         = "{NODE_POOL}"
              servers           = {json.dumps(list(self.servers))}
              network_interface = "lo"
              max_kill_timeout  = "5m"
              gc_interval       = "1h"
              options = {{
                "driver.allowlist"     = "{",".join(self.drivers)}"
                "fingerprint.denylist" = "{_NOT_LOOKED_FOR}"
              }}
            }}
            plugin "raw_exec" {{
              config {{
                enabled = true
              }}
            }}
            plugin "{self.plugin.name}" {{
              config {{}}
            }}
            {self.extra}
        """
        _write(self.folder, text)
        self.process.start()

    def show(self, gpus: Sequence[FakeGpu]) -> None:
        """Have these GPUs from now on; the plugin looks every second."""
        rows = [
            {
                "uuid": gpu.uuid,
                "name": gpu.name,
                "memory_mib": gpu.memory_mib,
                "driver_version": gpu.driver_version,
                "healthy": gpu.healthy,
            }
            for gpu in gpus
        ]
        self._gpu_file.write_text(json.dumps(rows))

    def wait_ready(self) -> None:
        """Wait until Nomad may place holders on it, its GPUs included.

        Raises:
            ServerNotUp: it ended, or was not ready in time.
        """
        _wait(self._is_ready, self.process, f"Nomad's node {self.name} is not ready")

    def end(self) -> None:
        """End it, and free its folder: Nomad leaves the memory file systems of its allocations mounted."""
        self.process.stop()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            mounted = line.split()[1]
            if mounted.startswith(f"{self.folder.resolve()}/"):
                subprocess.run(["umount", mounted], check=False)

    def node_id(self) -> str:
        """Its id in the cluster; empty before it has one."""
        said = _get(f"{self.url}/v1/agent/self") or {}
        return str(said.get("stats", {}).get("client", {}).get("node_id", ""))

    @property
    def _gpu_file(self) -> Path:
        return self.folder / "gpus.json"

    def _is_ready(self) -> bool:
        node_id = self.node_id()
        node = _get(f"{self.url}/v1/node/{node_id}") if node_id else None
        if not node or node["Status"] != "ready":
            return False
        groups = (node.get("NodeResources") or {}).get("Devices") or ()
        return sum(len(group["Instances"]) for group in groups) == len(self.gpus)


def nomad_cluster(program: Path, folder: Path, count: int) -> list[NomadServer]:
    """``count`` servers that know each other; the caller starts and ends them."""
    servers = [
        NomadServer(program, folder / f"nomad-{number}", f"nomad-{number}", count) for number in range(count)
    ]
    for server in servers:
        server.joins = [f"127.0.0.1:{other.ports['serf']}" for other in servers if other is not server]
    return servers


def end_all_jobs(servers: Sequence[NomadServer]) -> None:
    """End whatever these servers have running, and wait for it; without a leader, nothing is done."""
    server = next((server for server in servers if server.has_leader()), None)
    if server is not None:
        stop_jobs(server)
        wait_until_idle(server)


def stop_jobs(server: NomadServer, namespace: str = "*") -> None:
    """Stop all jobs of a namespace; their allocations take some seconds to end."""
    for job in server.ask("GET", f"/v1/jobs?namespace={namespace}") or ():
        server.ask("DELETE", f"/v1/job/{quote(job['ID'], safe='')}?namespace={job['Namespace']}")


def wait_until_idle(server: NomadServer) -> None:
    """Wait until no allocation lives.

    Raises:
        ServerNotUp: one does not end in time.
    """
    deadline_s = time.monotonic() + _END_JOBS_S
    while any(
        row["ClientStatus"] in _ALIVE for row in server.ask("GET", "/v1/allocations?namespace=*") or ()
    ):
        if time.monotonic() > deadline_s:
            raise ServerNotUp(f"allocations of {server.url} have not ended after {_END_JOBS_S:.0f} s")
        time.sleep(0.05)


def _agent(program: Path, folder: Path, env: Mapping[str, str] | None = None) -> ServerProcess:
    words = [str(program), "agent", f"-config={folder / 'agent.hcl'}"]
    return ServerProcess(words, folder / "agent.log", env or {})


def _shared(name: str, folder: Path, ports: Mapping[str, int]) -> str:
    listed = "\n".join(f"{kind} = {port}" for kind, port in ports.items())
    advertised = "\n".join(f'{kind} = "127.0.0.1:{port}"' for kind, port in ports.items())
    return f"""
        name                 = "{name}"
        data_dir             = "{folder / "data"}"
        bind_addr            = "127.0.0.1"
        log_level            = "INFO"
        disable_update_check = true
        leave_on_interrupt   = false
        leave_on_terminate   = false
        ports {{
          {listed}
        }}
        advertise {{
          {advertised}
        }}
    """


def _write(folder: Path, text: str) -> None:
    lines = (line.strip() for line in text.splitlines())
    (folder / "agent.hcl").write_text("\n".join(line for line in lines if line) + "\n")


def _wait(ready: Callable[[], bool], process: ServerProcess, what: str) -> None:
    deadline_s = time.monotonic() + _READY_S
    while not ready():
        process.check_runs()
        if time.monotonic() > deadline_s:
            raise ServerNotUp(f"{what} after {_READY_S:.0f} s; see {process.log}")
        time.sleep(0.05)


def _get(url: str) -> Any:  # noqa: ANN401  (whatever JSON the server sends)
    return _ask("GET", url)


def _ask(
    method: str, url: str, body: object = None, token: str = "", trust: ssl.SSLContext | None = None
) -> Any:  # noqa: ANN401  (whatever JSON the server sends)
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"X-Nomad-Token": token} if token else {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5, context=trust) as reply:
            return json.loads(reply.read() or b"{}")
    except (OSError, ValueError):
        return None
