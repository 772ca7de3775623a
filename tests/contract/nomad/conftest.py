"""Nomad servers that a test may kill, freeze or cut off, and jobs that need no executor."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.nomad import Nomad
from horde_agents.testing.nomad_server import NODE_POOL, NomadServer


def script_job(name: str = "holder-x", script: str = "exec sleep 600", gpus: int = 0) -> dict[str, Any]:
    """A job like a holder's that runs a shell script."""
    resources: dict[str, Any] = {"CPU": 10, "MemoryMB": 10}
    if gpus:
        resources["Devices"] = [{"Name": "nvidia/gpu", "Count": gpus}]
    task = {
        "Name": "holder",
        "Driver": "raw_exec",
        "Config": {"command": "/bin/sh", "args": ["-c", script]},
        "Resources": resources,
        "KillTimeout": 1_000_000_000,
        "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1},
    }
    return {
        "ID": name,
        "Name": name,
        "Type": "batch",
        "NodePool": NODE_POOL,
        "ParameterizedJob": {"Payload": "forbidden", "MetaOptional": ["index", "horde"]},
        "TaskGroups": [
            {
                "Name": "holder",
                "Count": 1,
                "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
                "ReschedulePolicy": {"Attempts": 0, "Unlimited": False},
                "EphemeralDisk": {"SizeMB": 10},
                "Tasks": [task],
            }
        ],
    }


@dataclass
class Link:
    """A way to a server that can lose answers."""

    port: int
    url: str = ""
    loses_answers: bool = False
    lost: int = 0
    carrying: "set[asyncio.Task[None]]" = field(default_factory=set)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def carried(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.carrying.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, back]
        answering = asyncio.create_task(self._answers(there, writer))
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                back.write(data)
        back.close()
        writer.close()
        await answering

    async def cut(self) -> None:
        """Close whatever is open."""
        for writer in self.writers:
            writer.close()
        for task in self.carrying:
            await task

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await there.read(65536):
                if self.loses_answers:
                    self.lost += 1
                    break
                writer.write(data)
        writer.close()


@asynccontextmanager
async def link_to(server: NomadServer) -> AsyncIterator[Link]:
    """A proxy that passes questions on; answers are cut off while ``loses_answers``."""
    link = Link(server.ports["http"])
    async with await asyncio.start_server(link.carried, "127.0.0.1", 0) as listener:
        link.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield link
    await link.cut()


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory, nomad_program: Path) -> Iterator[NomadServer]:
    """A server without nodes, for tests that take it away."""
    server = NomadServer(nomad_program, tmp_path_factory.mktemp("lone"))
    server.start()
    try:
        server.wait_ready()
        server.make_node_pool()
        yield server
    finally:
        server.process.send(signal.SIGCONT)
        server.process.stop()


@pytest.fixture
async def lone_nomad(lone: NomadServer) -> AsyncIterator[Nomad]:
    """A client of it that is soon impatient."""
    client = Nomad(ClusterAddress((lone.url,)), answer_s=1.5, stream_silent_s=1.0)
    yield client
    await client.close()
