"""The link to one facilitator: authenticates, takes jobs, sends status updates; reconnects for ever."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import aiohttp

import horde_agents
from horde_agents.agents.validator.cheat_reports import CheatReports
from horde_agents.agents.validator.dispatch import Dispatch
from horde_agents.agents.validator.intake import Intake
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.status_outbox import StatusOutbox
from horde_agents.protocol.extensions import EXTENSIONS_HEADER, render_extensions
from horde_agents.protocol.facilitator_validator import (
    CHALLENGE_HEADER,
    FromFacilitator,
    HordeCancelJob,
    HordeCancelResult,
    HordeJobRequest,
    Response,
    V0AuthenticationRequest,
    V0Heartbeat,
    V0JobCheated,
    V2JobRequest,
    read_from_facilitator,
)
from horde_agents.protocol.frames import MAX_FRAME_BYTES, MalformedFrame, read_object, render
from horde_agents.protocol.signing import Signer, to_hex
from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.supervisor import Supervisor

_PING_S: Final = 20.0
_AUTH_S: Final = 15.0
_FIRST_PAUSE_S: Final = 0.5
#: A connection that lived this long shows that all is well: pauses begin anew.
_STEADY_S: Final = 30.0

_log = get_logger(__name__)


class NotWelcome(Exception):
    """The facilitator refused the authentication; the text is its own."""


@dataclass(slots=True)
class FacilitatorLink:
    """Keeps the connection to ``url`` for as long as the agent runs."""

    parts: Parts
    supervisor: Supervisor
    intake: Intake
    dispatch: Dispatch
    cheat_reports: CheatReports
    outbox: StatusOutbox
    trouble: str = "no connection yet"

    @property
    def url(self) -> str:
        """The facilitator's WebSocket address, by which its jobs are known."""
        return self.outbox.peer

    def why_not_ready(self) -> str | None:
        """What is wrong with the link, for readiness."""
        return f"facilitator {self.url}: {self.trouble}" if self.trouble else None

    async def serve(self) -> NoReturn:
        """Connect, and connect again, for ever."""
        delays = delays_s(_FIRST_PAUSE_S, self.parts.settings.reconnect_cap_s, self.parts.rng)
        while True:
            began_s = monotonic_s()
            try:
                await self._connect_once()
                self.trouble = "the connection was closed"
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError, NotWelcome) as error:
                self.trouble = f"{type(error).__name__}: {error}"
            _log.warning("no link to facilitator", peer=self.url, why=self.trouble)
            if monotonic_s() - began_s > _STEADY_S:
                delays = delays_s(_FIRST_PAUSE_S, self.parts.settings.reconnect_cap_s, self.parts.rng)
            await asyncio.sleep(next(delays))

    async def _connect_once(self) -> None:
        version = horde_agents.__version__
        headers = {
            "X-Validator-Runner-Version": version,
            "X-Validator-Version": version,
            EXTENSIONS_HEADER: ",".join(render_extensions()),
        }
        handshake = _Handshake()
        async with aiohttp.ClientSession(trace_configs=[handshake.trace()]) as http:
            async with asyncio.timeout(_AUTH_S):
                socket = await http.ws_connect(
                    self.url, headers=headers, heartbeat=_PING_S, max_msg_size=MAX_FRAME_BYTES
                )
            async with socket:
                await self._authenticate(socket, handshake.challenge)
                self.trouble = ""
                _log.info("linked to facilitator", peer=self.url, waiting=len(self.outbox))
                await self._converse(socket)

    async def _authenticate(self, socket: aiohttp.ClientWebSocketResponse, challenge: str | None) -> None:
        request = auth_request(self.parts.signer, challenge)
        async with asyncio.timeout(_AUTH_S):
            await socket.send_str(request)
            answer = await socket.receive()
        if answer.type is not aiohttp.WSMsgType.TEXT:
            raise NotWelcome(f"closed during authentication (code {socket.close_code})")
        try:
            frame, _ = read_from_facilitator(answer.data)
        except MalformedFrame as error:
            raise NotWelcome(f"answered authentication with an unreadable frame: {error}") from error
        if not isinstance(frame, Response) or frame.status != "success":
            raise NotWelcome(f"refused authentication: {answer.data[:500]}")

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.outbox.begin_connection()
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._send_updates(socket), name="status updates"),
                group.create_task(self._send_heartbeats(socket), name="heartbeats"),
                group.create_task(self._watch_answers(socket), name="answers"),
            ]
            try:
                await self._read(socket)
            finally:
                for helper in helpers:
                    helper.cancel()

    async def _send_updates(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # the reader sees the end, too
            while True:
                await socket.send_str(await self.outbox.next_text())

    async def _send_heartbeats(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await socket.send_str(render(V0Heartbeat()))
                await asyncio.sleep(self.parts.settings.heartbeat_s)

    async def _watch_answers(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        limit_s = self.parts.settings.response_timeout_s
        while True:
            await asyncio.sleep(limit_s / 4)
            if self.outbox.unanswered_for_s() > limit_s:
                break
        _log.warning("facilitator leaves updates unanswered; connecting anew", peer=self.url)
        await socket.close()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                break
            try:
                frame, value = read_from_facilitator(message.data)
            except MalformedFrame as error:
                await self._answer_unreadable(message.data, error)
                continue
            await self._take(socket, frame, value)
        _log.info("facilitator's frames ended", peer=self.url, code=socket.close_code)

    async def _take(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        frame: FromFacilitator | Response,
        value: dict[str, Any],
    ) -> None:
        match frame:
            case Response():
                self._answered(frame)
            case V2JobRequest():
                work = self.intake.take_job(frame, value, self.url)
                self.supervisor.spawn(f"intake {frame.uuid:.36}", work)
            case HordeJobRequest():
                self.supervisor.spawn(f"intake {frame.uuid:.36}", self.intake.take_whole(frame, self.url))
            case V0JobCheated():
                await self.cheat_reports.take(frame)
            case HordeCancelJob():
                accepted, why = await self.dispatch.cancel(frame.uuid, frame.message)
                result = HordeCancelResult(uuid=frame.uuid, accepted=accepted, message=why)
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await socket.send_str(render(result))

    def _answered(self, response: Response) -> None:
        uuid = self.outbox.answered()
        if response.status == "error":
            errors = [f"{error.type}: {error.msg}"[:300] for error in response.errors]
            _log.warning("facilitator refuses an update", job=uuid, errors=errors)

    async def _answer_unreadable(self, data: str | bytes, error: MalformedFrame) -> None:
        """A job that cannot be read must not hang: if it says its name, it is rejected."""
        _log.warning("unreadable frame", peer=self.url, code=error.code, why=str(error)[:500])
        try:
            value = read_object(data)
        except MalformedFrame:
            return
        uuid = value.get("uuid")
        if value.get("message_type") in {"V2JobRequest", "HordeJobRequest"} and isinstance(uuid, str):
            await self.intake.refuse_unreadable(uuid[:36], self.url, str(error)[:500])


def auth_request(signer: Signer, challenge: str | None) -> str:
    """The first frame; a facilitator that hands out no challenge sees the stock form (wire note B.2.1)."""
    proof = to_hex(signer.sign(challenge.encode())) if challenge else None
    request = V0AuthenticationRequest(
        public_key=signer.public_key.hex(),
        signature=to_hex(signer.sign(signer.public_key)),
        challenge_signature=proof,
    )
    return request.model_dump_json(exclude_none=True)


@dataclass(slots=True)
class _Handshake:
    """Reads the challenge from the handshake's answer, whose headers a websocket does not show."""

    challenge: str | None = None

    def trace(self) -> aiohttp.TraceConfig:
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._note)
        return trace

    async def _note(self, _session: object, _context: object, params: aiohttp.TraceRequestEndParams) -> None:
        self.challenge = params.response.headers.get(CHALLENGE_HEADER)
