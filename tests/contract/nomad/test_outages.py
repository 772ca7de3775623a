"""The client while Nomad is away, frozen or without a leader: it says so in time, and goes on afterwards."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import requests  # noqa: TID251  (its errors are what python-nomad may let through)
from nomad.api import exceptions as nomad_exceptions
from nomad.api.jobs import Jobs

from horde_agents.clients.cluster_http import ClusterAddress, ServerAway, ServerDenied, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.testing.nomad_server import NomadServer
from horde_agents.testing.server_process import free_ports
from tests.contract.nomad.conftest import script_job
from tests.fixtures.waiting import eventually

OURS = (ServerAway, ServerDenied, ServerRefused)


def nobody() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


@asynccontextmanager
async def asking(*urls: str) -> AsyncIterator[Nomad]:
    client = Nomad(ClusterAddress(urls), answer_s=1.5)
    yield client
    await client.close()


async def test_nobody_there_is_said_with_the_address() -> None:
    url = nobody()
    async with asking(url) as nomad:
        with pytest.raises(ServerAway, match=f"{url} does not answer.*Does it run there"):
            await nomad.children("holder-")
        with pytest.raises(ServerAway, match=url):
            await nomad.dispatch("holder-x", "t", {})


async def test_next_server_is_asked_and_remembered(lone: NomadServer) -> None:
    async with asking(nobody(), nobody(), lone.url) as nomad:
        assert await nomad.children("holder-") == []
        assert nomad._http.url() == lone.url
        assert await nomad.nodes("horde-gpu") == []


async def test_frozen_server_is_given_up_and_the_next_asked(lone: NomadServer, tmp_path: Path) -> None:
    lone.process.send(signal.SIGSTOP)
    try:
        async with asking(lone.url) as nomad, asyncio.timeout(10):
            with pytest.raises(ServerAway, match="does not answer"):
                await nomad.children("holder-")
    finally:
        lone.process.send(signal.SIGCONT)


@pytest.fixture
def leaderless(tmp_path: Path, nomad_program: Path) -> Iterator[NomadServer]:
    """A server that waits for two others."""
    server = NomadServer(nomad_program, tmp_path / "leaderless", cluster_size=3)
    server.start()
    yield server
    server.process.kill()


async def test_server_without_a_leader_is_away(leaderless: NomadServer, lone: NomadServer) -> None:
    await eventually(lambda: _listens(leaderless.ports["http"]))
    nomad = Nomad(ClusterAddress((leaderless.url,)), answer_s=10.0)
    with pytest.raises(ServerAway, match="No cluster leader"):
        await nomad.children("holder-")
    with pytest.raises(ServerAway, match="No cluster leader"):
        await nomad.dispatch("holder-x", "t", {})
    await nomad.close()
    both = Nomad(ClusterAddress((leaderless.url, lone.url)), answer_s=3.0)
    assert await both.children("holder-") == []
    await both.close()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _every_class(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from _every_class(child)


def _errors() -> Iterator[Exception]:
    reply = requests.Response()
    reply.status_code, reply._content = 400, b"no"
    for kind in _every_class(nomad_exceptions.BaseNomadException):
        yield kind(reply)
        yield kind(requests.ConnectionError("gone"))
    yield nomad_exceptions.InvalidParameters("no")
    for kind in _every_class(requests.RequestException):
        if issubclass(kind, requests.JSONDecodeError):
            yield kind("no", "no JSON", 0)
        elif kind is not UnicodeError:
            yield kind("gone")


async def test_every_error_of_the_libraries_is_one_of_ours() -> None:
    async with asking(nobody()) as nomad:
        for error in _errors():
            with pytest.raises(OURS):
                await nomad._ask(Jobs, _failing(error))


def _failing(error: Exception) -> Callable[[Jobs], None]:
    def fails(_jobs: Jobs) -> None:
        raise error

    return fails


async def test_events_come_after_a_change(lone: NomadServer, lone_nomad: Nomad) -> None:
    await lone_nomad.register(script_job())
    async with _heard(lone_nomad) as heard:
        await _more_than(heard, 0)
        await lone_nomad.dispatch("holder-x", "event", {})
        await _more_than(heard, heard())


async def test_events_go_on_after_a_freeze(lone: NomadServer, lone_nomad: Nomad) -> None:
    async with _heard(lone_nomad) as heard:
        await _more_than(heard, 0)
        lone.process.send(signal.SIGSTOP)
        await asyncio.sleep(2 * lone_nomad.stream_silent_s)
        lone.process.send(signal.SIGCONT)
        await _more_than(heard, heard())
        await lone_nomad.register(script_job("holder-after-freeze"))
        await _more_than(heard, heard())


async def test_events_go_on_after_a_restart(lone: NomadServer, lone_nomad: Nomad) -> None:
    """What happened meanwhile is a gap in the stream: that it was begun anew says so."""
    async with _heard(lone_nomad) as heard:
        await _more_than(heard, 0)
        lone.process.kill()
        before = heard()
        lone.start()
        lone.wait_ready()
        await _more_than(heard, before)


async def test_events_survive_a_token_file_that_is_not_there(lone: NomadServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    nomad = Nomad(ClusterAddress((lone.url,), token_file=file))
    async with _heard(nomad) as heard:
        await asyncio.sleep(0.2)
        assert heard() == 0
        file.write_text("any\n")
        await _more_than(heard, 0)
    await nomad.close()


@asynccontextmanager
async def _heard(nomad: Nomad) -> AsyncIterator[Callable[[], int]]:
    """How often there were news until now."""
    count = 0

    async def hear() -> None:
        nonlocal count
        async for _ in nomad.events():
            count += 1

    hearing = asyncio.create_task(hear())
    yield lambda: count
    hearing.cancel()
    await asyncio.wait([hearing])


async def _more_than(heard: Callable[[], int], before: int) -> None:
    async with asyncio.timeout(20):
        while heard() <= before:
            await asyncio.sleep(0.02)
