"""The operators' listener says whether the agent lives, whether it is ready and what it counts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Counter

from horde_agents.runtime.health import health_app, listening
from horde_agents.runtime.settings import SettingsWrong


@dataclass
class _Agent:
    url: str
    wrong: str | None = None


@pytest.fixture
async def agent() -> AsyncIterator[_Agent]:
    """An agent with one check that a test may fail."""
    found = _Agent("")
    registry = CollectorRegistry()
    Counter("horde_test_jobs", "Jobs.", registry=registry).inc(3)
    app = health_app({"chain": lambda: found.wrong, "store": lambda: None}, registry)
    async with listening(app, "127.0.0.1", 0) as port:
        found.url = f"http://127.0.0.1:{port}"
        yield found


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """A client."""
    async with ClientSession() as opened:
        yield opened


async def test_a_ready_agent_says_what_it_checked(agent: _Agent, session: ClientSession) -> None:
    async with session.get(f"{agent.url}/readyz") as answer:
        assert answer.status == 200
        assert await answer.json() == {"status": "ready", "checks": ["chain", "store"], "wrong": {}}


async def test_an_agent_that_is_not_ready_lives_and_names_what_is_wrong(
    agent: _Agent, session: ClientSession
) -> None:
    agent.wrong = "no block for 60 s"
    async with session.get(f"{agent.url}/readyz") as answer:
        assert answer.status == 503
        assert (await answer.json())["wrong"] == {"chain": "no block for 60 s"}
    async with session.get(f"{agent.url}/healthz") as answer:
        assert answer.status == 200


async def test_metrics_are_those_of_this_agent(agent: _Agent, session: ClientSession) -> None:
    async with session.get(f"{agent.url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "horde_test_jobs_total 3.0" in await answer.text()


async def test_a_port_that_is_taken_is_refused_in_a_sentence(agent: _Agent) -> None:
    port = int(agent.url.rpartition(":")[2])
    with pytest.raises(SettingsWrong, match=rf"Cannot listen on 127\.0\.0\.1:{port}: .*in use"):
        async with listening(health_app({}, CollectorRegistry()), "127.0.0.1", port):
            pass


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\n"])
async def test_a_connection_that_says_nothing_more_is_ended(said: bytes) -> None:
    async with listening(health_app({}, CollectorRegistry()), "127.0.0.1", 0, idle_s=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
