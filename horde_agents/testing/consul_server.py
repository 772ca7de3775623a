"""Real Consul servers on loopback ports, for the cluster demo and for tests."""

import json
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from horde_agents.testing.certificates import Certificates
from horde_agents.testing.server_process import ServerNotUp, ServerProcess, free_ports

_READY_S: Final = 30.0


@dataclass(slots=True)
class ConsulServer:
    """One Consul server; several with ``joins`` are a cluster.

    With ``certificates`` it speaks TLS alone and asks for a client's certificate; with ``management_token``
    it denies everything that no token allows.
    """

    program: Path
    folder: Path
    name: str = "consul"
    cluster_size: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    joins: list[str] = field(default_factory=list)
    certificates: Certificates | None = None
    management_token: str = ""
    process: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.ports:
            self.ports = dict(zip((self._scheme, "server", "serf_lan"), free_ports(3), strict=True))
        words = [str(self.program), "agent", f"-config-file={self.folder / 'consul.json'}"]
        self.process = ServerProcess(words, self.folder / "consul.log")

    @property
    def url(self) -> str:
        """Where its HTTP interface listens."""
        return f"{self._scheme}://127.0.0.1:{self.ports[self._scheme]}"

    @property
    def _scheme(self) -> str:
        return "https" if self.certificates else "http"

    def start(self) -> None:
        """Write its configuration and start it."""
        (self.folder / "consul.json").write_text(json.dumps(self._config(), indent=1))
        self.process.start()

    def wait_ready(self) -> None:
        """Wait until the cluster has a leader, and this server takes sessions and services.

        Raises:
            ServerNotUp: it ended, or was not ready in time.
        """
        deadline_s = time.monotonic() + _READY_S
        while not (self.has_leader() and self._is_in_catalogue()):
            self.process.check_runs()
            if time.monotonic() > deadline_s:
                raise ServerNotUp(f"Consul is not ready after {_READY_S:.0f} s; see {self.process.log}")
            time.sleep(0.05)

    def has_leader(self) -> bool:
        """Whether this server knows a leader."""
        return self.leader() != ""

    def leader(self) -> str:
        """The leader's raft address; empty when there is none."""
        return str(self._get("/v1/status/leader") or "")

    @property
    def raft_address(self) -> str:
        """Its own address as ``leader`` says it."""
        return f"127.0.0.1:{self.ports['server']}"

    def _is_in_catalogue(self) -> bool:
        return self._get(f"/v1/catalog/node/{self.name}") is not None

    def _get(self, path: str) -> Any:  # noqa: ANN401  (JSON; None without an answer)
        trust = self.certificates.trust() if self.certificates else None
        request = urllib.request.Request(self.url + path, headers={"X-Consul-Token": self.management_token})
        try:
            with urllib.request.urlopen(request, timeout=2, context=trust) as reply:
                return json.loads(reply.read())
        except OSError:
            return None

    def _config(self) -> dict[str, Any]:
        return {
            "server": True,
            "node_name": self.name,
            "datacenter": "dc1",
            "data_dir": str(self.folder / "data"),
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "bootstrap_expect": self.cluster_size,
            "retry_join": self.joins,
            "retry_interval": "1s",
            "ports": {"dns": -1, "grpc": -1, "grpc_tls": -1, "serf_wan": -1, "http": -1, **self.ports},
            "performance": {"raft_multiplier": 1},
            "ui_config": {"enabled": True},
            "log_level": "info",
            "disable_update_check": True,
            "leave_on_terminate": False,
            **self._tls(),
            **self._access_control(),
            **self.extra,
        }

    def _tls(self) -> dict[str, Any]:
        if self.certificates is None:
            return {}
        ours = {
            "ca_file": str(self.certificates.ca),
            "cert_file": str(self.certificates.server),
            "key_file": str(self.certificates.server_key),
            "verify_incoming": True,
            "verify_outgoing": True,
        }
        return {"tls": {"defaults": ours, "internal_rpc": {"verify_server_hostname": True}}}

    def _access_control(self) -> dict[str, Any]:
        if not self.management_token:
            return {}
        tokens = {"initial_management": self.management_token, "agent": self.management_token}
        return {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}


def consul_cluster(program: Path, folder: Path, count: int) -> list[ConsulServer]:
    """``count`` servers that know each other; the caller starts and ends them."""
    servers = [
        ConsulServer(program, folder / f"consul-{number}", f"consul-{number}", count)
        for number in range(count)
    ]
    for server in servers:
        server.joins = [f"127.0.0.1:{other.ports['serf_lan']}" for other in servers if other is not server]
    return servers
