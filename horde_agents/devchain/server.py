"""The node's listener: JSON-RPC over WebSocket and over HTTP POST, on one port."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import WSMsgType, web

from horde_agents.devchain.node import Node
from horde_agents.devchain.rpc import Connection, RpcError
from horde_agents.runtime.health import listening
from horde_agents.runtime.logs import get_logger

_MAX_BYTES: Final = 16 * 1024 * 1024
_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_log = get_logger(__name__)


@asynccontextmanager
async def serving(node: Node, host: str, port: int) -> AsyncIterator[int]:
    """Answer for ``node`` on ``host:port`` (0 = any free one) and yield the port."""
    app = web.Application(client_max_size=_MAX_BYTES)
    door = _Door(node)
    app.add_routes([web.get("/", door.websocket), web.post("/", door.post)])
    app.on_shutdown.append(door.close_all)
    async with listening(app, host, port) as bound:
        yield bound


@dataclass(slots=True)
class _Door:
    node: Node
    _sockets: set[web.WebSocketResponse] = field(default_factory=set)

    async def post(self, request: web.Request) -> web.Response:
        connection = Connection(self.node, lambda _name, _subscription, _result: None)
        try:
            return web.json_response(_answer_text(connection, await request.text()))
        finally:
            connection.close()

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=_MAX_BYTES)
        await socket.prepare(request)
        outgoing: asyncio.Queue[object] = asyncio.Queue()

        def push(name: str, subscription: str, result: object) -> None:
            params = {"subscription": subscription, "result": result}
            outgoing.put_nowait({"jsonrpc": "2.0", "method": name, "params": params})

        connection = Connection(self.node, push)
        sending = asyncio.create_task(_send_all(socket, outgoing), name="rpc notifications")
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    outgoing.put_nowait(_answer_text(connection, message.data))
        finally:
            self._sockets.discard(socket)
            connection.close()
            sending.cancel()
        return socket

    async def close_all(self, _app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close()


async def _send_all(socket: web.WebSocketResponse, outgoing: "asyncio.Queue[object]") -> None:
    """One sender a socket: an answer goes out before the notifications that follow from it."""
    while True:
        try:
            await socket.send_str(json.dumps(await outgoing.get()))
        except ConnectionError:
            return


def _answer_text(connection: Connection, text: str) -> object:
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        return _error(None, RpcError(_PARSE_ERROR, "Parse error"))
    if isinstance(request, list):
        return [_answer(connection, each) for each in request]
    return _answer(connection, request)


def _answer(connection: Connection, request: Any) -> dict[str, Any]:  # noqa: ANN401  (whatever came)
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _error(None, RpcError(_INVALID_REQUEST, "Invalid Request"))
    given = request.get("params") or []
    params = list(given.values()) if isinstance(given, dict) else given
    if not isinstance(params, list):
        return _error(request.get("id"), RpcError(_INVALID_REQUEST, "params must be a list or an object"))
    try:
        result = connection.call(request["method"], params)
    except RpcError as error:
        return _error(request.get("id"), error)
    return {"jsonrpc": "2.0", "id": request.get("id"), "result": result}


def _error(request_id: object, error: RpcError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.data is not None:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": request_id, "error": body}
