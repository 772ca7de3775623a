"""A facilitator's validator link over a real socket: forwards jobs, keeps a replica of what it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from horde_agents.jobs.lifecycle import Job, Moved, advance
from horde_agents.protocol.extensions import EXTENSIONS_HEADER, render_extensions
from horde_agents.protocol.facilitator_validator import (
    CHALLENGE_HEADER,
    CLOSE_BAD_SIGNATURE,
    HordeCancelResult,
    Response,
    V0AuthenticationRequest,
    V0Heartbeat,
    V0JobStatusUpdate,
    error_response,
    read_from_validator,
)
from horde_agents.protocol.frames import MAX_FRAME_BYTES, render
from horde_agents.protocol.signing import from_hex, hotkey_of, verify
from horde_agents.protocol.status_updates import event_of_update


@dataclass(slots=True)
class ScriptedFacilitator:
    """What a facilitator sees; set ``answers`` to False to leave status updates unanswered."""

    challenge: str | None = "a nonce"
    answers: bool = True
    welcomes: bool = True
    port: int = 0
    connections: int = 0
    heartbeats: int = 0
    auths: list[V0AuthenticationRequest] = field(default_factory=list)
    updates: list[V0JobStatusUpdate] = field(default_factory=list)
    cancel_results: list[HordeCancelResult] = field(default_factory=list)
    replica: dict[str, Job] = field(default_factory=dict)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Where validators connect."""
        return f"ws://127.0.0.1:{self.port}/ws/v0/"

    async def send(self, frame: dict[str, Any] | str) -> None:
        """Send a frame over the newest authenticated link; waits for one."""
        await self.until(lambda: any(not socket.closed for socket in self.sockets))
        socket = [socket for socket in self.sockets if not socket.closed][-1]
        await socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def drop(self) -> None:
        """Cut every link."""
        for socket in self.sockets:
            await socket.close()

    async def until(self, fact: Callable[[], bool], patience_s: float = 20.0) -> None:
        """Wait until ``fact`` holds.

        Raises:
            TimeoutError: it does not, for too long.
        """
        async with asyncio.timeout(patience_s), self._changed:
            await self._changed.wait_for(fact)

    async def until_final(self, uuid: str, patience_s: float = 20.0) -> Job:
        """The job once it has a final state."""
        await self.until(lambda: uuid in self.replica and self.replica[uuid].state.is_final, patience_s)
        return self.replica[uuid]

    def states(self, uuid: str) -> list[str]:
        """The statuses told of a job, in the order they came, repetitions included."""
        return [update.status.value for update in self.updates if update.uuid == uuid]

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one validator's link."""
        headers = {EXTENSIONS_HEADER: ",".join(render_extensions())}
        if self.challenge is not None:
            headers[CHALLENGE_HEADER] = self.challenge
        socket = web.WebSocketResponse(max_msg_size=MAX_FRAME_BYTES, timeout=1.0)
        socket.headers.update(headers)
        await socket.prepare(request)
        async with self._changed:
            self.connections += 1
            self._changed.notify_all()
        if await self._authenticated(socket):
            await self._serve(socket)
        await socket.close()
        return socket

    async def _authenticated(self, socket: web.WebSocketResponse) -> bool:
        first = await socket.receive()
        if first.type is not WSMsgType.TEXT:
            return False
        auth = read_from_validator(first.data)
        if not isinstance(auth, V0AuthenticationRequest) or not self._accepts(auth):
            refusal = error_response("auth.signature_invalid", "not you")
            await socket.send_str(render(refusal))
            await socket.close(code=CLOSE_BAD_SIGNATURE)
            return False
        self.auths.append(auth)
        await socket.send_str(render(Response(status="success")))
        async with self._changed:
            self.sockets.append(socket)
            self._changed.notify_all()
        return True

    def _accepts(self, auth: V0AuthenticationRequest) -> bool:
        public_key = bytes.fromhex(auth.public_key)
        hotkey = hotkey_of(public_key)
        proved = self.challenge is None or verify(
            hotkey, self.challenge.encode(), from_hex(auth.challenge_signature or "")
        )
        return self.welcomes and proved and verify(hotkey, public_key, from_hex(auth.signature))

    async def _serve(self, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                return
            frame = read_from_validator(message.data)
            async with self._changed:
                self._take(frame)
                self._changed.notify_all()
            if isinstance(frame, V0JobStatusUpdate) and self.answers:
                await socket.send_str(render(Response(status="success")))

    def _take(self, frame: object) -> None:
        if isinstance(frame, V0Heartbeat):
            self.heartbeats += 1
        elif isinstance(frame, HordeCancelResult):
            self.cancel_results.append(frame)
        elif isinstance(frame, V0JobStatusUpdate):
            self.updates.append(frame)
            job = self.replica.setdefault(frame.uuid, Job(frame.uuid))
            event = event_of_update(frame)
            if event is not None and isinstance(step := advance(job, event), Moved):
                self.replica[frame.uuid] = step.job


@asynccontextmanager
async def scripted_facilitator(
    facilitator: ScriptedFacilitator, port: int = 0
) -> AsyncIterator[ScriptedFacilitator]:
    """Serve ``facilitator`` on loopback until the block ends."""
    app = web.Application()
    app.router.add_get("/ws/v0/", facilitator.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        facilitator.port = int(runner.addresses[0][1])
        yield facilitator
    finally:
        await facilitator.drop()
        await runner.cleanup()
