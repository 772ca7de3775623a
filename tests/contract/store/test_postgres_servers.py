"""A URL that names two servers finds the one that takes writes, whatever is wrong with the other."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from horde_agents.store import facts, postgres
from horde_agents.store.engine import StoreUnusable, open_store
from tests.fixtures.postgres import PostgresServer

pytestmark = pytest.mark.postgres


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Where connections are taken and nothing is ever said, as of a machine that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def _both(url: str, other_port: int, **query: str) -> str:
    """``url`` with another server before its own."""
    parsed = make_url(url)
    hosts = (f"127.0.0.1:{other_port}", f"127.0.0.1:{parsed.port}")
    named = URL.create("postgresql", parsed.username, parsed.password, database=parsed.database)
    return named.set(query={"host": hosts, **query}).render_as_string(hide_password=False)


async def _put_and_get(url: str) -> str | None:
    async with open_store(url) as store:
        await store.writer.run(lambda connection: facts.put(connection, "asked", "yes"))
        async with store.reading() as connection:
            return await facts.get(connection, "asked")


async def test_a_server_that_is_down_is_passed_over(postgres_url: str) -> None:
    assert await _put_and_get(_both(postgres_url, 1, target_session_attrs="read-write")) == "yes"


async def test_a_server_that_is_silent_is_passed_over(
    postgres_url: str, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_ATTEMPT_S", 0.5)
    assert await _put_and_get(_both(postgres_url, silent_port, target_session_attrs="read-write")) == "yes"


async def test_the_server_that_took_us_last_is_asked_first(
    postgres_url: str, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_ATTEMPT_S", 2.0)
    async with open_store(_both(postgres_url, silent_port)) as store:
        await store.engine.dispose()
        async with asyncio.timeout(1.9), store.reading() as connection:
            await facts.get(connection, "none")


async def test_when_none_takes_writes_each_is_named_with_its_reason(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    name = make_url(postgres_url).database
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnusable) as refused:
        await _put_and_get(_both(postgres_url, 1, target_session_attrs="read-write"))
    assert "127.0.0.1:1: " in str(refused.value)
    assert f"127.0.0.1:{postgres_server.port}: " in str(refused.value)
    assert "read_write" in str(refused.value)
    assert postgres_server.password not in str(refused.value)


async def test_a_silent_machine_is_noticed_by_the_kernel(postgres_url: str) -> None:
    async with open_store(postgres_url) as store, store.reading() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        raw = driver._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("sslmod=require", "has the parameter sslmod; it may have host, sslmode"),
        ("sslmode=always", "sslmode of the database URL is always; it may be disable"),
        ("sslrootcert=/proc/none", "needs sslmode=verify-full"),
        ("sslmode=verify-full&sslrootcert=/proc/none", "/proc/none, cannot be used"),
        ("sslmode=verify-full&sslrootcert=/proc/version", "/proc/version, cannot be used"),
    ],
)
async def test_what_makes_no_sense_in_a_url_is_refused_in_a_sentence(query: str, sentence: str) -> None:
    with pytest.raises(StoreUnusable, match=sentence):
        async with open_store(f"postgresql://user@127.0.0.1/name?{query}"):
            pass


async def test_a_server_without_tls_gets_no_password(postgres_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="rejected SSL"):
        await asyncio.wait_for(_put_and_get(f"{postgres_url}?sslmode=require"), 20)
