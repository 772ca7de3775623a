"""The validators' side of the facilitator: authentication, heartbeats, status updates (wire notes B)."""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Final

from aiohttp import WSMsgType, web

from horde_agents.agents.facilitator.book import JobBook
from horde_agents.agents.facilitator.links import Link, Links
from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.agents.facilitator.stakes import Stakes
from horde_agents.agents.facilitator.submissions import Submissions
from horde_agents.jobs.lifecycle import Ignored, NotAuthorised
from horde_agents.protocol.extensions import (
    EXTENSIONS_HEADER,
    Extension,
    render_extensions,
    shared_from_header,
)
from horde_agents.protocol.facilitator_validator import (
    CHALLENGE_HEADER,
    CLOSE_BAD_SIGNATURE,
    CLOSE_NOT_A_VALIDATOR,
    FromValidator,
    HordeCancelResult,
    Response,
    V0AuthenticationRequest,
    V0Heartbeat,
    V0JobStatusUpdate,
    V0MachineSpecsUpdate,
    error_response,
    read_from_validator,
)
from horde_agents.protocol.frames import FIRST_FRAME_BYTES, MAX_FRAME_BYTES, MalformedFrame, render
from horde_agents.protocol.signing import Hotkey, from_hex, hotkey_of, verify
from horde_agents.protocol.status_updates import event_of_update
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.held_peers import HOLD_S, HeldPeers
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.networks import network_of

PATH: Final = "/ws/v0/"
_PING_S: Final = 60.0
_PUBLIC_KEY_BYTES: Final = 32
_log = get_logger(__name__)


class _NotWelcome(Exception):
    """An authentication is refused: what to answer, and how to close."""

    def __init__(self, public_key: str, answer: Response, close_code: int) -> None:
        super().__init__(answer.errors[0].msg)
        self.public_key = public_key
        self.answer = answer
        self.close_code = close_code


@dataclass(slots=True)
class ValidatorDoor:
    """Takes validators in."""

    parts: FacilitatorParts
    links: Links
    stakes: Stakes
    book: JobBook
    submissions: Submissions
    _held: HeldPeers = field(default_factory=HeldPeers)

    async def connected(self, request: web.Request) -> web.WebSocketResponse:
        """The handler of ``PATH``."""
        challenge = secrets.token_hex(16)
        socket = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=MAX_FRAME_BYTES)
        socket.headers[EXTENSIONS_HEADER] = ",".join(render_extensions())
        socket.headers[CHALLENGE_HEADER] = challenge
        await socket.prepare(request)
        extensions = shared_from_header(request.headers.get(EXTENSIONS_HEADER))
        try:
            async with asyncio.timeout(self.parts.settings.auth_s):
                hotkey = await self._authenticate(socket, extensions, challenge)
        except TimeoutError:
            await _refuse(socket, error_response("auth.not_authenticated", "No authentication came."), 1008)
            return socket
        except _NotWelcome as why:
            await self._hold(network_of(request.remote or ""), why)
            await _refuse(socket, why.answer, why.close_code)
            return socket
        if hotkey is None or request.transport is None:
            return socket
        link = Link(hotkey, socket, request.transport, extensions)
        self.links.add(link)
        self.parts.metrics.links.set(len(self.links.all()))
        try:
            if Extension.RESUME in extensions:
                await self.submissions.forward_again(link.hotkey)
            await self._receive(link)
        finally:
            self.links.remove(link)
            self.parts.metrics.links.set(len(self.links.all()))
            _log.info("validator link ended", peer=link.hotkey)
        return socket

    async def close_all(self) -> None:
        """End every link politely; validators come back by themselves."""
        for link in self.links.all():
            await link.socket.close(code=1001)

    async def _authenticate(
        self, socket: web.WebSocketResponse, extensions: frozenset[Extension], challenge: str
    ) -> Hotkey | None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                frame = read_from_validator(message.data, FIRST_FRAME_BYTES)
            except MalformedFrame as error:
                await socket.send_str(render(error_response(error.code, str(error))))
                continue
            if not isinstance(frame, V0AuthenticationRequest):
                refusal = error_response("auth.not_authenticated", "Authenticate first.")
                await socket.send_str(render(refusal))
                continue
            return await self._checked(socket, frame, extensions, challenge)
        return None

    async def _checked(
        self,
        socket: web.WebSocketResponse,
        frame: V0AuthenticationRequest,
        extensions: frozenset[Extension],
        challenge: str,
    ) -> Hotkey:
        public_key = from_hex("0x" + frame.public_key.removeprefix("0x"))
        hotkey = hotkey_of(public_key) if len(public_key) == _PUBLIC_KEY_BYTES else None
        if hotkey is None or not self.stakes.is_validator(hotkey):
            refusal = error_response("auth.validator_not_found", f"{hotkey} is no active validator.")
            raise _NotWelcome(frame.public_key[:64], refusal, CLOSE_NOT_A_VALIDATOR)
        if not _signed(frame, hotkey, public_key, challenge if Extension.CHALLENGE in extensions else None):
            refusal = error_response("auth.signature_invalid", "The signature does not hold.")
            raise _NotWelcome(frame.public_key[:64], refusal, CLOSE_BAD_SIGNATURE)
        await socket.send_str(render(Response(status="success")))
        _log.info("validator linked", peer=hotkey, extensions=sorted(extensions))
        return hotkey

    async def _hold(self, address: str, why: "_NotWelcome") -> None:
        """Let a refused peer wait when it comes again and again; one that is served never waits for it."""
        peer = (address, why.public_key)
        is_first = self._held.is_new(peer)
        if self._held.has_room(peer):
            self._held.add(peer)
            if not is_first:
                await asyncio.sleep(HOLD_S)

    async def _receive(self, link: Link) -> None:
        async for message in link.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            link.heard_s = monotonic_s()
            try:
                answer = await self._take(link, read_from_validator(message.data))
            except MalformedFrame as error:
                _log.warning("validator sent a malformed frame", peer=link.hotkey, why=str(error))
                answer = error_response(error.code, str(error))
            if answer is not None:
                await link.send(render(answer))

    async def _take(self, link: Link, frame: FromValidator) -> Response | None:
        match frame:
            case V0JobStatusUpdate():
                return await self._update(link, frame)
            case HordeCancelResult():
                self.links.cancel_answered(frame)
            case V0AuthenticationRequest():
                return error_response("auth.already_authenticated", "This link is authenticated.")
            case V0Heartbeat() | V0MachineSpecsUpdate():
                _log.debug("validator frame", peer=link.hotkey, kind=frame.message_type)
        return None

    async def _update(self, link: Link, update: V0JobStatusUpdate) -> Response:
        event = event_of_update(update)
        if event is None:
            return error_response("job.integrity_error", "`sent` is the facilitator's own status.")
        try:
            step = await self.book.happened(update.uuid, event, told_by=link.hotkey)
        except LookupError:
            return error_response("job.not_found", f"Job {update.uuid:.64} is not a job of this validator.")
        except NotAuthorised as error:
            return error_response("job.integrity_error", str(error))
        if isinstance(step, Ignored):
            _log.info("status ignored", job=update.uuid, status=update.status.value, why=step.why)
        return Response(status="success")


def _signed(frame: V0AuthenticationRequest, hotkey: str, public_key: bytes, challenge: str | None) -> bool:
    if not verify(hotkey, public_key, from_hex(frame.signature)):
        return False
    return challenge is None or verify(hotkey, challenge.encode(), from_hex(frame.challenge_signature or ""))


async def _refuse(socket: web.WebSocketResponse, refusal: Response, code: int) -> None:
    await socket.send_str(render(refusal))
    await socket.close(code=code)
