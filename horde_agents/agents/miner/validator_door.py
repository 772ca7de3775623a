"""The validators' side of the miner: authentication, manifest, then one connection's frames in order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import WSMsgType, web

from horde_agents.agents.miner.attempts import Attempts
from horde_agents.agents.miner.offers import Offers
from horde_agents.agents.miner.parts import MinerParts
from horde_agents.agents.miner.validators import Validators
from horde_agents.protocol.extensions import Extension, render_extensions, shared
from horde_agents.protocol.frames import FIRST_FRAME_BYTES, MAX_FRAME_BYTES, MalformedFrame, render
from horde_agents.protocol.job_frames import GenericError, HordeCancelJob, V0InitialJobRequest, V0JobRequest
from horde_agents.protocol.validator_miner import (
    FromValidator,
    HordeProgressReceipt,
    V0ExecutorManifestRequest,
    V0JobAcceptedReceiptRequest,
    V0JobFinishedReceiptRequest,
    V0MainHotkeyMessage,
    ValidatorAuthForMiner,
    read_from_validator,
    why_not_authenticated,
)
from horde_agents.runtime import clock
from horde_agents.runtime.held_peers import HOLD_S, HeldPeers
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.networks import network_of

PATH: Final = "/v0.1/validator_interface/{hotkey}"
_PING_S: Final = 60.0
_log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class Session:
    """One authenticated connection."""

    validator_hotkey: str
    socket: web.WebSocketResponse = field(repr=False)
    extensions: frozenset[Extension] = frozenset()

    async def send(self, text: str) -> None:
        """Hand a frame over; a connection that broke meanwhile says nothing."""
        try:
            await self.socket.send_str(text)
        except ConnectionError:
            _log.info("validator connection is gone", peer=self.validator_hotkey)


@dataclass(slots=True)
class ValidatorDoor:
    """Takes validators in."""

    parts: MinerParts
    validators: Validators
    attempts: Attempts
    offers: Offers
    is_draining: Callable[[], bool]
    _held: HeldPeers = field(default_factory=HeldPeers)
    _sessions: set[Session] = field(default_factory=set)

    async def connected(self, request: web.Request) -> web.WebSocketResponse:
        """The handler of ``PATH``."""
        path_hotkey = request.match_info["hotkey"]
        peer = (network_of(request.remote or ""), path_hotkey)
        if not self._held.has_room(peer):  # a refused handshake makes clients wait
            raise web.HTTPTooManyRequests(text="too many refused connections; wait")
        socket = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=MAX_FRAME_BYTES)
        await socket.prepare(request)
        why_not, auth = await self._authenticate(socket, path_hotkey)
        if auth is None:
            await self._refuse(socket, peer, why_not)
            return socket
        session = Session(path_hotkey, socket, shared(auth.horde_extensions or ()))
        self.parts.facts.rewards_moved_slots[path_hotkey] = Extension.SLOT_DANCE in session.extensions
        await self._serve(session)
        return socket

    async def close_all(self) -> None:
        """End every connection; the validators come back to whoever listens next."""
        for session in list(self._sessions):
            await session.socket.close(code=1001)

    async def _authenticate(
        self, socket: web.WebSocketResponse, path_hotkey: str
    ) -> tuple[str, ValidatorAuthForMiner | None]:
        try:
            async with asyncio.timeout(self.parts.settings.auth_s):
                frame, _ = read_from_validator(await socket.receive_str(), FIRST_FRAME_BYTES)
        except (TimeoutError, TypeError):
            return f"Validator {path_hotkey:.64} not authenticated due to: no authentication came", None
        except MalformedFrame as error:
            return f"Malformed frame: {error}", None
        if not isinstance(frame, ValidatorAuthForMiner):
            return (
                f"Validator {path_hotkey:.64} not authenticated due to: {frame.message_type} came first",
                None,
            )
        if (why := await self.validators.why_refused(path_hotkey)) is not None:
            return why, None
        why = why_not_authenticated(frame, path_hotkey, self.parts.wire_hotkey, clock.now().timestamp())
        if why is not None:
            return f"Validator {path_hotkey:.64} not authenticated due to: {why}", None
        return "", frame

    async def _refuse(self, socket: web.WebSocketResponse, peer: tuple[str, str], why: str) -> None:
        """Say why, then hold the connection: stock clients come back at once (wire note C.10.3)."""
        _log.warning("validator refused", peer=f"{peer[1]:.64} at {peer[0]}", why=why)
        self._held.add(peer)
        try:
            await socket.send_str(render(GenericError(details=why)))
            async with asyncio.timeout(HOLD_S):
                async for _ in socket:  # whatever it says now is not heard
                    continue
        except TimeoutError:
            await socket.close(code=1000)
        except ConnectionError:
            return

    async def _serve(self, session: Session) -> None:
        self._sessions.add(session)
        try:
            await session.send(render(self._manifest(session)))
            if Extension.RESUME not in session.extensions:
                for attempt in self.attempts.of_validator(session.validator_hotkey):
                    if (
                        attempt.session is None
                    ):  # stock peers resume by authenticating again (wire note C.10.2)
                        await self.attempts.join(attempt, session)
            async for message in session.socket:
                if message.type is WSMsgType.TEXT and message.data != "PING":
                    await self._received(session, message.data)
        finally:
            self._sessions.discard(session)
            self.attempts.leave(session)

    def _manifest(self, session: Session) -> V0ExecutorManifestRequest:
        extensions = render_extensions() if session.extensions else None
        slots = self.parts.slots
        whole = Extension.CLASSES in session.extensions
        if self.is_draining():
            return V0ExecutorManifestRequest(manifest={}, horde_extensions=extensions)
        return V0ExecutorManifestRequest(
            manifest=slots.wire_manifest(),
            horde_extensions=extensions,
            horde_manifest=slots.manifest() if whole else None,
            horde_prices=self.parts.settings.price_micro or None
            if Extension.PRICES in session.extensions
            else None,
        )

    async def _received(self, session: Session, text: str) -> None:
        try:
            frame, value = read_from_validator(text)
        except MalformedFrame as error:
            _log.warning("validator sent a malformed frame", peer=session.validator_hotkey, why=str(error))
            await session.send(render(GenericError(details=str(error))))
            return
        await self._take(session, frame, value)

    async def _take(self, session: Session, frame: FromValidator, value: dict[str, Any]) -> None:
        match frame:
            case V0InitialJobRequest():
                # not awaited: an offer may wait for an executor, the frames behind it may not
                self.parts.supervisor.spawn(
                    f"offer {frame.job_uuid}", self.offers.answer(session, frame, value)
                )
            case V0JobRequest():
                await self.offers.request(session, frame, value)
            case HordeCancelJob():
                attempt = self.attempts.find(frame.job_uuid)
                if attempt is not None and attempt.validator_hotkey == session.validator_hotkey:
                    await self.attempts.cancel(attempt, frame.message)
            case V0JobAcceptedReceiptRequest() | V0JobFinishedReceiptRequest():
                await self.offers.receipt(session, frame)
            case HordeProgressReceipt():
                await self.offers.progress(session, frame)
            case V0MainHotkeyMessage():
                await session.send(render(V0MainHotkeyMessage(main_hotkey=self.parts.main_hotkey())))
            case ValidatorAuthForMiner():
                _log.info("repeated authentication ignored", peer=session.validator_hotkey)
            case GenericError():
                _log.warning(
                    "validator reports an error", peer=session.validator_hotkey, details=frame.details
                )
