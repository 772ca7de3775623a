"""A miner that plays a script over a real socket, honest or hostile, and remembers what it was sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from aiohttp import WSMsgType, web
from pydantic import BaseModel

from horde_agents.protocol import job_frames as frames
from horde_agents.protocol import validator_miner as wire
from horde_agents.protocol.extensions import Extension, render_extensions, shared
from horde_agents.protocol.frames import MAX_FRAME_BYTES, render
from horde_agents.protocol.signing import Hotkey, KeypairSigner

F = TypeVar("F", bound=BaseModel)

_RECEIPTS = (
    wire.V0JobAcceptedReceiptRequest,
    wire.V0JobFinishedReceiptRequest,
    wire.HordeProgressReceipt,
)
#: What a miner of ours announces.
ALL_EXTENSIONS = frozenset(Extension)
STOCK: frozenset[Extension] = frozenset()


class ValidatorGone(Exception):
    """The validator closed the connection."""


@dataclass(slots=True)
class Talk:
    """One connection of a validator, authenticated."""

    miner: "ScriptedMiner"
    socket: web.WebSocketResponse
    auth: wire.ValidatorAuthForMiner
    got: list[wire.FromValidator] = field(default_factory=list)

    async def send(self, message: BaseModel | str) -> None:
        """Write a message, or any text."""
        await self.socket.send_str(message if isinstance(message, str) else render(message))

    async def read(self) -> wire.FromValidator:
        """The next frame; receipts are acknowledged at once where that was announced.

        Raises:
            ValidatorGone: the connection has ended.
        """
        message = await self.socket.receive()
        if message.type is not WSMsgType.TEXT:
            raise ValidatorGone
        frame, value = wire.read_from_validator(message.data)
        self.got.append(frame)
        self.miner.got.append(frame)
        self.miner.raw.append(value)
        async with self.miner.heard:
            self.miner.heard.notify_all()
        if isinstance(frame, _RECEIPTS):
            await self._acknowledge(frame.payload)
        return frame

    async def until(self, kind: type[F]) -> F:
        """Read up to a frame of ``kind``.

        Raises:
            ValidatorGone: the connection ended before.
        """
        while True:
            frame = await self.read()
            if isinstance(frame, kind):
                return frame

    async def greet(self) -> None:
        """Send the manifest."""
        extensions = render_extensions(self.miner.extensions) if self.miner.extensions else None
        await self.send(
            wire.V0ExecutorManifestRequest(manifest=self.miner.manifest, horde_extensions=extensions)
        )

    async def accept(self) -> str:
        """Wait for an offer and take it; the attempt's uuid."""
        offer = await self.until(frames.V0InitialJobRequest)
        await self.send(wire.V0AcceptJobRequest(job_uuid=offer.job_uuid))
        return offer.job_uuid

    async def listen_for(self, span_s: float) -> None:
        """Read whatever comes, for a while or until the validator leaves."""
        with suppress(TimeoutError):
            async with asyncio.timeout(span_s):
                while True:
                    await self.read()

    async def _acknowledge(self, payload: dict[str, Any]) -> None:
        both = self.miner.extensions & shared(self.auth.horde_extensions or ())
        if Extension.RECEIPT_ACK in both and self.miner.acknowledges:
            await self.send(
                wire.HordeReceiptStored(
                    job_uuid=payload["job_uuid"],
                    receipt_type=payload["receipt_type"],
                    sequence=payload.get("sequence", 0),
                )
            )


Script: TypeAlias = Callable[[Talk], Awaitable[None]]


async def run_jobs(talk: Talk) -> None:
    """The honest script: runs whatever is offered to completion."""
    await talk.greet()
    await finish(talk, await talk.accept())


async def finish(talk: Talk, uuid: str, stdout: str = "hello\n") -> None:
    """From an accepted attempt to its end."""
    await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
    await talk.until(frames.V0JobRequest)
    await talk.send(frames.V0VolumesReadyRequest(job_uuid=uuid))
    await talk.send(frames.V0ExecutionDoneRequest(job_uuid=uuid))
    await talk.send(finished(uuid, stdout))
    await talk.until(wire.V0JobFinishedReceiptRequest)


def finished(uuid: str, stdout: str = "hello\n") -> frames.V0JobFinishedRequest:
    """A successful final report."""
    return frames.V0JobFinishedRequest(
        job_uuid=uuid, docker_process_stdout=stdout, docker_process_stderr="", artifacts={}, upload_results={}
    )


@dataclass(slots=True)
class ScriptedMiner:
    """The miner behind a socket; ``got`` are all frames of all connections but the authentications."""

    signer: KeypairSigner
    script: Script = run_jobs
    manifest: dict[str, int] = field(default_factory=lambda: {"always_on.test": 1})
    extensions: frozenset[Extension] = ALL_EXTENSIONS
    acknowledges: bool = True
    port: int = 0
    connections: int = 0
    got: list[wire.FromValidator] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)
    open_sockets: set[web.WebSocketResponse] = field(default_factory=set)

    @property
    def hotkey(self) -> Hotkey:
        """The miner's address."""
        return self.signer.hotkey

    def of(self, kind: type[F]) -> list[F]:
        """The frames of ``kind`` so far."""
        return [frame for frame in self.got if isinstance(frame, kind)]

    async def until(self, fact: Callable[[], bool], patience_s: float = 20.0) -> None:
        """Wait until ``fact`` holds of the frames heard.

        Raises:
            TimeoutError: it does not, for too long.
        """
        async with asyncio.timeout(patience_s), self.heard:
            await self.heard.wait_for(fact)

    async def drop_all(self) -> None:
        """Cut every open connection."""
        for socket in list(self.open_sockets):
            await socket.close()

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection by the script."""
        socket = web.WebSocketResponse(max_msg_size=MAX_FRAME_BYTES, timeout=1.0)
        await socket.prepare(request)
        self.connections += 1
        self.open_sockets.add(socket)
        try:
            first = await socket.receive()
            if first.type is WSMsgType.TEXT:
                auth, _ = wire.read_from_validator(first.data)
                if isinstance(auth, wire.ValidatorAuthForMiner):
                    await self.script(Talk(self, socket, auth))
        except (ValidatorGone, ConnectionError):
            pass  # validators may leave at any time
        finally:
            self.open_sockets.discard(socket)
            await socket.close()
        return socket


@asynccontextmanager
async def scripted_miner(miner: ScriptedMiner, port: int = 0) -> AsyncIterator[ScriptedMiner]:
    """Serve ``miner`` on loopback until the block ends."""
    app = web.Application()
    app.router.add_get("/v0.1/validator_interface/{hotkey}", miner.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        miner.port = int(runner.addresses[0][1])
        yield miner
    finally:
        await miner.drop_all()
        await runner.cleanup()
