"""Consul as a horde runs it: TLS both ways, nothing allowed without a token, three servers."""

import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul_connection import ConsulConnection
from horde_agents.testing.certificates import consul_certificates
from horde_agents.testing.consul_server import ConsulServer, consul_cluster
from tools.setup.places import ROOT

MINER_POLICY = ROOT / "consul" / "policies" / "miner.policy.hcl"


@dataclass
class Secured:
    """One secured server and the ways into it."""

    server: ConsulServer
    folder: Path
    policies: set[str] = field(default_factory=set)

    def address(self, token_file: Path | None, **other: Path | None) -> ClusterAddress:
        ours = self.server.certificates
        assert ours is not None
        files: dict[str, Path | None] = {
            "ca_file": ours.ca,
            "certificate_file": ours.client,
            "key_file": ours.client_key,
            **other,
        }
        return ClusterAddress((self.server.url,), token_file, **files)

    @property
    def management(self) -> Path:
        return self.written(self.server.management_token)

    def written(self, token: str) -> Path:
        path = self.folder / f"token-{uuid.uuid4()}"
        path.write_text(token + "\n")
        return path

    async def miner_token(self, admin: ConsulConnection, horde: str) -> dict[str, Any]:
        """A token with the policy that the project ships."""
        name = f"miner-{horde}"
        if name not in self.policies:
            rules = MINER_POLICY.read_text().replace("{{ horde }}", horde)
            # py-consul encodes rules twice
            await admin.ask("PUT", "/v1/acl/policy", json={"Name": name, "Rules": rules})
            self.policies.add(name)
        token: dict[str, Any] = await admin.call(lambda consul: consul.acl.token.create(policies_name=[name]))
        return token


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, consul_program: Path) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    server = ConsulServer(
        consul_program,
        folder / "server",
        certificates=consul_certificates(consul_program, folder / "tls"),
        management_token=str(uuid.uuid4()),
    )
    server.start()
    try:
        server.wait_ready()
        yield Secured(server, folder)
    finally:
        server.process.stop()


@pytest.fixture
async def admin(secured: Secured) -> AsyncIterator[ConsulConnection]:
    connection = ConsulConnection(secured.address(secured.management))
    yield connection
    await connection.close()


@dataclass
class Cluster:
    """Three servers."""

    servers: list[ConsulServer]

    def urls(self, *first: ConsulServer) -> tuple[str, ...]:
        """All addresses, ``first`` first."""
        others = [server for server in self.servers if server not in first]
        return tuple(server.url for server in [*first, *others])

    def leader(self) -> ConsulServer:
        for asked in self.servers:
            for server in self.servers:
                if asked.leader() == server.raft_address:
                    return server
        raise AssertionError("no leader")

    def followers(self) -> list[ConsulServer]:
        leader = self.leader()
        return [server for server in self.servers if server is not leader]

    def start(self) -> None:
        """Start those that do not run."""
        for server in self.servers:
            if server.process.process is None or server.process.process.poll() is not None:
                server.start()
        for server in self.servers:
            server.wait_ready()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, consul_program: Path) -> Iterator[Cluster]:
    cluster = Cluster(consul_cluster(consul_program, tmp_path_factory.mktemp("three"), 3))
    try:
        cluster.start()
        yield cluster
    finally:
        for server in cluster.servers:
            server.process.send(signal.SIGCONT)
            server.process.kill()


@pytest.fixture
def cluster(three: Cluster) -> Cluster:
    """The three servers, all of them up."""
    three.start()
    return three
