"""WebSocket clients that reconnect between two servers, with the product's TLS and nothing of a horde."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from horde_agents.agents.miner.certificate import ensure_certificate, fingerprint, server_context
from horde_agents.runtime.health import listening
from horde_agents.runtime.tls_memory import keep_one_record_per_connection
from tests.bench.beside import Beside, beside, heard

_PATH: Final = "/"
_AT_ONCE: Final = 32


@contextmanager
def bare_sockets(folder: Path, count: int) -> Iterator[Beside]:
    """``count`` connected clients; when asked, all reconnect, and it answers how many seconds that took."""
    ensure_certificate(folder, "127.0.0.1")
    with (
        beside(_serve, folder) as one,
        beside(_serve, folder) as other,
        beside(_reconnect, folder, count, (one.answer(), other.answer())) as clients,
    ):
        assert clients.answer() == count
        yield clients


async def _serve(pipe: Connection, folder: Path) -> None:
    async def connected(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=20.0)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.add_routes([web.get(_PATH, connected)])
    keep_one_record_per_connection()
    tls = server_context(ensure_certificate(folder, "127.0.0.1"))
    async with listening(app, "127.0.0.1", 0, tls) as port:
        pipe.send(port)
        await heard(pipe)


async def _reconnect(pipe: Connection, folder: Path, count: int, ports: tuple[int, int]) -> None:
    trust = aiohttp.Fingerprint(fingerprint(ensure_certificate(folder, "127.0.0.1")))
    room = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def connection(number: int) -> aiohttp.ClientWebSocketResponse:
            url = f"wss://127.0.0.1:{ports[number % 2]}{_PATH}"
            socket = await session.ws_connect(url, ssl=trust, heartbeat=20.0)
            await socket.send_str("a greeting")
            await socket.receive_str()
            return socket

        async def first(number: int) -> aiohttp.ClientWebSocketResponse:
            async with room:
                return await connection(number)

        async def other(number: int, old: aiohttp.ClientWebSocketResponse) -> aiohttp.ClientWebSocketResponse:
            await old.close()
            return await connection(number)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(first(number)) for number in range(count)]
        sockets = [task.result() for task in tasks]
        pipe.send(count)
        turn = 0
        while await heard(pipe) is not None:
            turn, begun = turn + 1, time.monotonic()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(other(n + turn, old)) for n, old in enumerate(sockets)]
            sockets = [task.result() for task in tasks]
            pipe.send(time.monotonic() - begun)
        for socket in sockets:
            await socket.close()
