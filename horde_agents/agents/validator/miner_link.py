"""One authenticated connection to a miner: frames in, frames out; knows nothing of attempts."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from horde_agents.agents.validator.routing import Miner
from horde_agents.protocol.extensions import Extension, render_extensions, shared
from horde_agents.protocol.frames import MAX_FRAME_BYTES, MalformedFrame, render
from horde_agents.protocol.job_frames import GenericError
from horde_agents.protocol.signing import Signer
from horde_agents.protocol.validator_miner import (
    FromMiner,
    UnauthorizedError,
    V0ExecutorManifestRequest,
    read_from_miner,
    sign_auth,
)
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger

_PING_S: Final = 30.0
_CLOSE_S: Final = 2.0
#: Unreadable frames after which a miner's connection is given up.
_MOST_MALFORMED: Final = 10

_log = get_logger(__name__)


class MinerUnreachable(Exception):
    """No connection could be made; the text says to whom and why."""


class LinkLost(Exception):
    """The connection ended; the text says how."""


class MinerBroken(Exception):
    """The miner sends what no miner may send; there is no use in going on."""


@dataclass(slots=True)
class MinerLink:
    """An open connection whose first frame, the authentication, has been sent.

    ``extensions`` is ``None`` until the manifest, the miner's first frame, has come.
    """

    miner: Miner
    _socket: aiohttp.ClientWebSocketResponse
    extensions: frozenset[Extension] | None = None
    manifest: Mapping[str, int] = field(default_factory=dict)
    prices: object = None
    complaint: str = ""
    _malformed: int = 0

    async def send(self, text: str) -> None:
        """Write one frame.

        Raises:
            LinkLost: the connection has ended.
        """
        try:
            await self._socket.send_str(text)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise LinkLost(self._ending()) from error

    async def receive(self) -> FromMiner:
        """The next frame that can be read; unreadable ones are answered with GenericError.

        Raises:
            LinkLost: the connection has ended.
            MinerBroken: a frame is too large, or too many were unreadable.
        """
        while True:
            message = await self._socket.receive()
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                frame = await self._read(message.data)
                if frame is not None:
                    return frame
            elif message.type is aiohttp.WSMsgType.ERROR or self._socket.close_code == _TOO_BIG:
                raise MinerBroken(f"Miner {self.miner.hotkey} broke the link's rules: {message.data}.")
            else:
                raise LinkLost(self._ending())

    def announces(self, extension: Extension) -> bool:
        """Whether the miner has said that it knows ``extension``."""
        return self.extensions is not None and extension in self.extensions

    @property
    def closed_cleanly(self) -> bool:
        """Whether both sides have said goodbye, so that what was written has arrived."""
        return self._socket.close_code == aiohttp.WSCloseCode.OK

    async def _read(self, data: str | bytes) -> FromMiner | None:
        if data == "PING":  # a stock miner's own keep-alive (wire note C.1.4)
            return None
        try:
            frame = read_from_miner(data)
        except MalformedFrame as error:
            await self._refuse(error)
            return None
        self._note(frame)
        return frame

    def _note(self, frame: FromMiner) -> None:
        if isinstance(frame, V0ExecutorManifestRequest):
            self.manifest = frame.manifest if frame.horde_manifest is None else frame.horde_manifest
            self.extensions = shared(frame.horde_extensions or ())
            self.prices = frame.horde_prices
        elif isinstance(frame, GenericError | UnauthorizedError):
            self.complaint = frame.details
            _log.warning("miner complains", peer=self.miner.hotkey, details=frame.details[:500])

    async def _refuse(self, error: MalformedFrame) -> None:
        self._malformed += 1
        _log.warning("unreadable frame", peer=self.miner.hotkey, code=error.code, why=str(error)[:500])
        if self._malformed >= _MOST_MALFORMED:
            raise MinerBroken(f"Miner {self.miner.hotkey} keeps sending unreadable frames: {error}")
        await self.send(render(GenericError(details=str(error)[:500])))

    def _ending(self) -> str:
        said = f"; it said: {self.complaint[:300]}" if self.complaint else ""
        return f"Miner {self.miner.hotkey} ended the connection (code {self._socket.close_code}){said}"


_TOO_BIG: Final = aiohttp.WSCloseCode.MESSAGE_TOO_BIG


@asynccontextmanager
async def linked(
    http: aiohttp.ClientSession, signer: Signer, miner: Miner, connect_s: float
) -> AsyncIterator[MinerLink]:
    """Connect and authenticate; the manifest has yet to come.

    Raises:
        MinerUnreachable: no connection within ``connect_s``.
        LinkLost: it ended before the authentication was written.
    """
    socket = await _connected(http, miner, f"/v0.1/validator_interface/{signer.hotkey}", connect_s)
    link = MinerLink(miner, socket)
    try:
        auth = sign_auth(signer, miner.hotkey, int(now().timestamp()), render_extensions())
        await link.send(render(auth))
        yield link
    finally:
        await socket.close()


async def _connected(
    http: aiohttp.ClientSession, miner: Miner, path: str, connect_s: float
) -> aiohttp.ClientWebSocketResponse:
    host = f"[{miner.host}]" if ":" in miner.host else miner.host
    try:
        async with asyncio.timeout(connect_s):
            return await http.ws_connect(
                f"ws://{host}:{miner.port}{path}",
                max_msg_size=MAX_FRAME_BYTES,
                heartbeat=_PING_S,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
            )
    except TimeoutError as error:
        raise MinerUnreachable(
            f"Miner {miner.hotkey} at {host}:{miner.port} did not answer within {connect_s:.0f} s"
        ) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise MinerUnreachable(
            f"Miner {miner.hotkey} at {host}:{miner.port} cannot be reached: {error}"
        ) from error
