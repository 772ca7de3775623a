"""Every foreign error becomes one of the port's, and a doubtful write is never told as refused."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from consul import exceptions as library

from horde_agents.clients import cluster_http
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.clients.consul_connection import FAULTS, ConsulConnection
from horde_agents.placement.coordination import (
    Coordination,
    CoordinationAway,
    CoordinationDenied,
    Put,
    Session,
    SessionLost,
)

_OURS = (CoordinationAway, CoordinationDenied, SessionLost)
_OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nX-Consul-Index: 7\r\n"
_CONFLICT = (
    b"HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: 80\r\n\r\n"
    b'{"Results":null,"Errors":[{"OpIndex":0,"What":"current modify index is wrong"}]}'
)


def _classes(module: object, root: type[Exception]) -> Iterator[type[Exception]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, root):
            yield found


@pytest.mark.parametrize(
    "foreign",
    [
        *_classes(library, Exception),
        *_classes(cluster_http, Exception),
    ],
)
async def test_every_exception_of_py_consul_and_of_the_connections_has_a_row(
    foreign: type[Exception],
) -> None:
    async def fails() -> None:
        raise foreign("said so")

    connection = ConsulConnection(ClusterAddress(("http://127.0.0.1:9",)))
    with pytest.raises(_OURS, match="said so"):
        await connection.call(lambda _: fails())
    await connection.close()


def test_rows_are_ordered_so_that_each_can_count() -> None:
    for number, (foreign, words, _) in enumerate(FAULTS):
        for earlier, earlier_words, _ in FAULTS[:number]:
            assert not (issubclass(foreign, earlier) and earlier_words in words)


def test_every_exception_that_aiohttp_raises_at_a_client_is_caught() -> None:
    caught = (aiohttp.ClientError, OSError, TimeoutError, ValueError, aiohttp.WSMessageTypeError)
    missing = [
        found for found in _classes(aiohttp.client_exceptions, Exception) if not issubclass(found, caught)
    ]
    assert missing == []


Door = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _server(answer: Door) -> AsyncIterator[str]:
    async def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(opened, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _request(reader: asyncio.StreamReader) -> bytes:
    """One request, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
    return head + await reader.readexactly(length)


def _says(text: bytes) -> Door:
    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(text)
        await writer.drain()

    return says


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"I am no web server\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        _OK + b"Content-Length: 100\r\n\r\n[{",
        _OK + b"Content-Length: 2\r\n\r\n[{",
        _OK + b"Content-Length: 3\r\n\r\n\xff\xfe\xfd",
        _OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]",
        _OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 17\r\n\r\nNo cluster leader",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nwhat?",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad",
    ],
)
async def test_answers_that_are_none_are_an_outage_in_every_call(text: bytes) -> None:
    async with _server(_says(text)) as url:
        store = ConsulCoordination(ClusterAddress((url,)))
        for call in _all_calls(store, with_empty_answers=not text.startswith(_OK)):
            with pytest.raises(CoordinationAway):
                await call
        await store.close()


def _all_calls(store: Coordination, *, with_empty_answers: bool) -> Iterator[Awaitable[object]]:
    session = Session("5c5cd9d3-5c5c-5c5c-5c5c-5c5cd9d35c5c")
    yield store.snapshot("a/")
    yield store.changed("a/", 7, 0.1)
    yield store.commit([Put("a/b", "c", 0)])
    yield store.open_session("miner", 10, ephemeral=True)
    yield store.renew(session)
    yield store.acquire("a/b", "c", session)
    yield store.release("a/b", session)
    if with_empty_answers:
        yield store.close_session(session)


def _breaks_off_then_refuses(breaks: int) -> tuple[Door, list[bytes]]:
    """A server that has made the transaction but breaks off; the same one again is refused, of course."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await _request(reader))
        if len(seen) > breaks:
            writer.write(_CONFLICT)
            await writer.drain()

    return answer, seen


async def test_write_that_one_server_broke_off_in_is_not_told_as_refused_by_the_next() -> None:
    dies, _ = _breaks_off_then_refuses(9)
    async with _server(dies) as first, _server(_says(_CONFLICT)) as second:
        store = ConsulCoordination(ClusterAddress((first, second)))
        with pytest.raises(CoordinationAway, match="not known"):
            await store.commit([Put("a", "b", 0)])
        assert not await store.commit([Put("a", "b", 0)])
        await store.close()


async def test_write_that_was_sent_again_over_a_new_connection_is_not_told_as_refused() -> None:
    answer, seen = _breaks_off_then_refuses(1)
    async with _server(answer) as url:
        store = ConsulCoordination(ClusterAddress((url,)))
        with pytest.raises(CoordinationAway, match="not known"):
            await store.commit([Put("a", "b", 0)])
        assert len(seen) == 2
        assert not await store.commit([Put("a", "b", 0)])
        await store.close()


async def test_write_refused_after_an_address_that_nobody_listens_on_is_refused() -> None:
    async with _server(_says(_CONFLICT)) as url:
        store = ConsulCoordination(ClusterAddress(("http://127.0.0.1:9", url)))
        assert not await store.commit([Put("a", "b", 0)])
        await store.close()


async def test_many_calls_that_fail_at_once_all_come_to_the_server_that_works() -> None:
    works = _says(_OK + b"Content-Length: 2\r\n\r\n[]")
    async with _server(works) as url:
        store = ConsulCoordination(ClusterAddress(("http://127.0.0.1:9", url)))
        async with asyncio.TaskGroup() as group:
            for _ in range(21):
                group.create_task(store.snapshot("a/"))
        await store.close()


async def test_client_that_was_closed_opens_its_connections_again() -> None:
    async with _server(_says(_OK + b"Content-Length: 2\r\n\r\n[]")) as url:
        store = ConsulCoordination(ClusterAddress((url,)))
        await store.snapshot("a/")
        await store.close()
        await store.snapshot("a/")
        await store.close()


async def test_no_address_is_an_outage() -> None:
    with pytest.raises(CoordinationAway, match="No address"):
        await ConsulCoordination(ClusterAddress(())).snapshot("a/")


async def test_redirection_does_not_carry_the_token_away(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    elsewhere, seen = _breaks_off_then_refuses(9)
    async with _server(elsewhere) as thief:
        moved = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {thief}/\r\nContent-Length: 0\r\n\r\n"
        async with _server(_says(moved.encode())) as url:
            store = ConsulCoordination(ClusterAddress((url,), tmp_path / "token"))
            with pytest.raises(CoordinationAway, match="307"):
                await store.snapshot("a/")
            await store.close()
    assert seen == []
