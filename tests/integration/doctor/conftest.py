"""``horde doctor --config`` beside real servers, of which a test makes what it wants wrong."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from horde_agents.cli.app import app
from horde_agents.cli.embedded import write_config
from horde_agents.testing.consul_server import ConsulServer
from horde_agents.testing.nomad_server import FakeGpu, GpuNodeAgent, NomadServer, end_all_jobs
from horde_agents.testing.wallets import hotkey_file
from tools.setup.servers import CONSUL, FAKE_GPUS, NOMAD, program

#: What a machine of tests need not have.
WAIVED = ("--profile", "test")


@dataclass
class Doctor:
    """A miner's settings and what doctor says of them; the miner itself does not run."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    code: int = -1

    async def look(self, **more: Any) -> list[dict[str, Any]]:
        """All findings; the exit code says whether one is wrong."""
        config = self.folder / "miner.toml"
        path, _ = hotkey_file(self.folder, "miner")
        common = {
            "hotkey_file": str(path),
            "database_url": f"sqlite:///{self.folder}/miner.sqlite3",
            "data_dir": str(self.folder / "data"),
            "operator_port": 0,
        }
        write_config(config, {**common, **self.settings, **more})
        words = ["doctor", "--json", "--config", str(config), *WAIVED]
        result = await asyncio.to_thread(CliRunner().invoke, app, words)
        self.code = result.exit_code
        findings: list[dict[str, Any]] = json.loads(result.stdout)
        assert self.code == (0 if all(each["fine"] for each in findings) else 1)
        return findings

    async def wrong(self, check: str, **more: Any) -> str:
        """What is wrong with ``check``, in one text."""
        found = await self.look(**more)
        said = "\n".join(each["says"] for each in found if not each["fine"] and check in each["check"])
        assert said, found
        return said


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


@pytest.fixture(scope="session")
def gpu_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NomadServer, GpuNodeAgent]]:
    """A Nomad without access control whose one gpu node has two A6000."""
    folder = tmp_path_factory.mktemp("doctors-nomad")
    server = NomadServer(program(NOMAD), folder / "server")
    gpus = [FakeGpu("GPU-a"), FakeGpu("GPU-b")]
    node = GpuNodeAgent(
        program(NOMAD), program(FAKE_GPUS), folder / "node", "gpu1", [server.rpc_address], gpus
    )
    try:
        server.start()
        server.wait_ready()
        node.start()
        node.wait_ready()
        yield server, node
        end_all_jobs([server])
    finally:
        node.end()
        server.process.stop()


@dataclass(frozen=True, slots=True)
class LockedNomad:
    """A Nomad that refuses whoever has no token."""

    server: NomadServer

    def token_file(self, folder: Path, rules: str, **more: Any) -> Path:
        """A new token with one policy, in a file."""
        policy = f"doctor-{uuid.uuid4()}"
        made = self.server.ask("POST", f"/v1/acl/policy/{policy}", {"Name": policy, "Rules": rules})
        assert made is not None, "Nomad takes no policy"
        made = self.server.ask("POST", "/v1/acl/token", {"Type": "client", "Policies": [policy], **more})
        file = folder / policy
        file.write_text(made["SecretID"])
        return file


@pytest.fixture(scope="session")
def locked_nomad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedNomad]:
    folder = tmp_path_factory.mktemp("locked-nomad")
    server = NomadServer(program(NOMAD), folder / "server", management_token=str(uuid.uuid4()))
    try:
        server.start()
        server.wait_ready()
        yield LockedNomad(server)
    finally:
        server.process.stop()


@pytest.fixture(scope="session")
def locked_consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A Consul that refuses whoever has no token, too."""
    folder = tmp_path_factory.mktemp("locked-consul")
    server = ConsulServer(program(CONSUL), folder, management_token=str(uuid.uuid4()))
    try:
        server.start()
        server.wait_ready()
        yield server
    finally:
        server.process.stop()
