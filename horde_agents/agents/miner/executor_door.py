"""The executors' listener: token, greeting, then reports in and offers out."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from aiohttp import WSMsgType, web

from horde_agents.agents.miner.attempts import Attempts
from horde_agents.agents.miner.slots import Slots
from horde_agents.agents.miner.tokens import SlotToken, TokenWrong, check
from horde_agents.jobs.states import Role
from horde_agents.protocol.attempt_reports import Report, event_of
from horde_agents.protocol.frames import MAX_FRAME_BYTES, MalformedFrame, render
from horde_agents.protocol.job_frames import GenericError, HordeCancelJob, V0MachineSpecsRequest
from horde_agents.protocol.miner_executor import (
    PATH,
    FromExecutor,
    HordeAck,
    HordeExecutorHello,
    HordeHeartbeat,
    HordeWelcome,
    read_from_executor,
)
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger

_HELLO_S: Final = 10.0
_PING_S: Final = 20.0
_log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Link:
    """One executor's connection, as ``slots.ExecutorLink`` wants it."""

    slot_id: str
    executor_class: str
    socket: web.WebSocketResponse = field(repr=False)

    async def send(self, text: str) -> None:
        try:
            await self.socket.send_str(text)
        except ConnectionError:
            _log.info("executor link is gone", slot=self.slot_id)


@dataclass(slots=True)
class ExecutorDoor:
    """Takes executors in."""

    secret: bytes = field(repr=False)
    miner_hotkey: str
    slots: Slots
    attempts: Attempts
    _live: dict[str, _Link] = field(default_factory=dict)

    def application(self) -> web.Application:
        """The listener's only path."""
        app = web.Application()
        app.add_routes([web.get(PATH, self._connected)])
        app.on_shutdown.append(self._close_all)
        return app

    async def _connected(self, request: web.Request) -> web.WebSocketResponse:
        token = self._token(request)
        socket = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=MAX_FRAME_BYTES)
        await socket.prepare(request)
        link = _Link(token.slot_id, token.executor_class, socket)
        try:
            hello = await _hello(socket)
            await self._greet(link, hello, token)
            await self._receive(link)
        except MalformedFrame as error:
            await link.send(render(GenericError(details=str(error))))
        finally:
            self._gone(link)
        return socket

    def _token(self, request: web.Request) -> SlotToken:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            return check(text, self.secret, now().timestamp())
        except TokenWrong as error:
            _log.warning("executor refused", peer=request.remote, why=str(error))
            raise web.HTTPUnauthorized(text=str(error)) from error

    async def _greet(self, link: _Link, hello: HordeExecutorHello, token: SlotToken) -> None:
        if (hello.slot_id, hello.executor_class) != (token.slot_id, token.executor_class):
            raise MalformedFrame("executor.wrong_slot", "the greeting names another slot than the token")
        attempt = self.attempts.find(hello.running_job_uuid) if hello.running_job_uuid else None
        if hello.running_job_uuid is not None and (attempt is None or attempt.slot_id != link.slot_id):
            # it comes from before a restart; the slot may have a new executor, which it must not drive away
            await self._dismiss(link, hello.running_job_uuid)
            return
        if (other := self._live.get(link.slot_id)) is not None:
            # the newest wins: an executor reconnects before a broken link of its own is noticed
            await other.socket.close(message=b"another link of this slot came")
        self._live[link.slot_id] = link
        await link.send(render(HordeWelcome(miner_hotkey=self.miner_hotkey)))
        if attempt is None:
            self.slots.offer_service(link)
        else:
            self.slots.occupy(link.slot_id)
            await self.attempts.executor_came_back(attempt, link)

    async def _dismiss(self, link: _Link, job_uuid: str) -> None:
        """Nobody here waits for that job: its executor is to end it and forget it."""
        await link.send(render(HordeWelcome(miner_hotkey=self.miner_hotkey)))
        await link.send(render(HordeCancelJob(job_uuid=job_uuid, message="not known to this miner")))
        await link.send(render(HordeAck(job_uuid=job_uuid)))

    async def _receive(self, link: _Link) -> None:
        async for message in link.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                await self._take(link, read_from_executor(message.data))
            except MalformedFrame as error:
                _log.warning("executor sent a malformed frame", slot=link.slot_id, why=str(error))
                await link.send(render(GenericError(details=str(error))))

    async def _take(self, link: _Link, frame: FromExecutor) -> None:
        match frame:
            case HordeExecutorHello() | HordeHeartbeat() | V0MachineSpecsRequest() | GenericError():
                _log.debug("executor frame", slot=link.slot_id, kind=frame.message_type)
            case _:
                await self._report(link, frame)

    async def _report(self, link: _Link, report: Report) -> None:
        attempt = self.attempts.find(report.job_uuid)
        if attempt is None:
            await link.send(render(HordeAck(job_uuid=report.job_uuid)))
        elif attempt.executor is not link:
            _log.warning("report about a job of another slot", slot=link.slot_id, job=report.job_uuid)
        else:
            await self.attempts.happened(attempt, event_of(report, Role.EXECUTOR))

    def _gone(self, link: _Link) -> None:
        if self._live.get(link.slot_id) is link:
            del self._live[link.slot_id]
        self.slots.withdraw(link)
        self.attempts.executor_gone(link)

    async def _close_all(self, _app: web.Application) -> None:
        for link in list(self._live.values()):
            await link.socket.close()


async def _hello(socket: web.WebSocketResponse) -> HordeExecutorHello:
    try:
        async with asyncio.timeout(_HELLO_S):
            frame = read_from_executor(await socket.receive_str())
    except (TimeoutError, TypeError) as error:
        raise MalformedFrame("executor.no_greeting", "no greeting came") from error
    if not isinstance(frame, HordeExecutorHello):
        raise MalformedFrame("executor.no_greeting", f"{frame.message_type} came before the greeting")
    return frame
