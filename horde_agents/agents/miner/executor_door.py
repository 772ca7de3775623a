"""The executors' listener: token, greeting, verdict, then reports in and offers out."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import WSMsgType, web

from horde_agents.agents.miner.admission import Admission, Badge, Hold, Refuse, SendOn, Serve, Verdict
from horde_agents.agents.miner.attempts import Attempt, Attempts
from horde_agents.agents.miner.refusals import Refusals
from horde_agents.agents.miner.slots import Slots
from horde_agents.agents.miner.tokens import TokenWrong
from horde_agents.jobs.states import Role
from horde_agents.protocol.attempt_reports import Report, event_of
from horde_agents.protocol.frames import FIRST_FRAME_BYTES, MAX_FRAME_BYTES, MalformedFrame, render
from horde_agents.protocol.job_frames import GenericError, HordeCancelJob, V0MachineSpecsRequest
from horde_agents.protocol.miner_executor import (
    PATH,
    FromExecutor,
    HordeAck,
    HordeExecutorHello,
    HordeGoTo,
    HordeHeartbeat,
    HordeLeaving,
    HordeWelcome,
    read_from_executor,
)
from horde_agents.runtime.logs import get_logger

_HELLO_S: Final = 10.0
_PING_S: Final = 20.0
#: Seconds an executor is held whose slot nobody knows yet; it gives up on its own greeting after 10.
_HELD_S: Final = 7.0
#: Seconds a slot may be without an executor before it is no longer counted.
_ABSENT_S: Final = 10.0
#: Seconds without a change after which executors are sent on, and how often that is awaited: a dance is
#: written in several transactions, and is over sooner alone.
_CALM_S: Final = 0.2
_MOST_WAITS: Final = 10
#: Executors that are sent on at once, seconds that one may take to go, and seconds that it gets to arrive
#: before another may go: who waits for its turn serves on.
_LEAVING_AT_ONCE: Final = 32
_LEAVE_S: Final = 1.0
_ARRIVE_S: Final = 0.2
#: Seconds in which an executor has to take in what it is sent; one that does not read is as good as gone.
_SEND_S: Final = 60.0
_log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Link:
    """One executor's connection, as ``slots.ExecutorLink`` wants it."""

    badge: Badge
    hello: HordeExecutorHello
    peer: str
    socket: web.WebSocketResponse = field(repr=False)

    @property
    def slot_id(self) -> str:
        return self.hello.slot_id

    @property
    def executor_class(self) -> str:
        return self.hello.executor_class

    @property
    def is_live(self) -> bool:
        return not self.socket.closed

    def is_of(self, attempt: Attempt) -> bool:
        """Whether the attempt runs here: on the slot that it leased, or on an executor made for it."""
        return attempt.slot_id == self.slot_id or self.hello.meant_for == attempt.uuid

    async def ready_for(self, job_uuid: str) -> None:
        """It is there, so it can."""

    async def send(self, text: str) -> None:
        try:
            async with asyncio.timeout(_SEND_S):
                await self.socket.send_str(text)
        except ConnectionError:
            _log.info("executor link is gone", slot=self.slot_id)
        except TimeoutError:
            _log.warning("executor does not read, ending its link", slot=self.slot_id, peer=self.peer)
            await _closed(self.socket)


@dataclass(slots=True)
class ExecutorDoor:
    """Takes executors in, and sends them on when their slot serves another UID."""

    admission: Admission
    miner_hotkey: str
    slots: Slots
    attempts: Attempts
    uid: Callable[[], int | None] = lambda: None
    refused: Refusals = field(default_factory=Refusals)
    _live: dict[str, _Link] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _changes: int = 0
    _told_addresses: list[str] = field(default_factory=list)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LEAVING_AT_ONCE))

    def application(self) -> web.Application:
        """The listener's only path."""
        app = web.Application()
        app.add_routes([web.get(PATH, self._connected)])
        app.on_shutdown.append(self._close_all)
        self.admission.on_change(self._let_know)
        self.admission.on_change(self._look_again)
        return app

    async def _connected(self, request: web.Request) -> web.WebSocketResponse:
        badge = await self._badge(request)
        socket = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=MAX_FRAME_BYTES)
        await socket.prepare(request)
        link: _Link | None = None
        try:
            link = _Link(badge, await _hello(socket), request.remote or "", socket)
            if await self._greet(link):
                await self._receive(link)
        except MalformedFrame as error:
            await socket.send_str(render(GenericError(details=str(error))))
        except ConnectionError:
            _log.info("executor went during its greeting", peer=request.remote)
        finally:
            if link is not None:
                self._gone(link)
        return socket

    async def _badge(self, request: web.Request) -> Badge:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            return await self.admission.badge(text)
        except TokenWrong as error:
            _log.warning("executor refused", peer=request.remote, why=str(error))
            self.refused.add(request.remote or "", "", str(error))
            raise web.HTTPUnauthorized(text=str(error)) from error

    async def _greet(self, link: _Link) -> bool:
        """Say what becomes of the executor; False when it is not to stay."""
        hello = link.hello
        if hello.running_job_uuid is not None:
            return await self._greet_busy(link, hello.running_job_uuid)
        verdict = await self._settled(link)
        meant_for = self.attempts.find(hello.meant_for) if hello.meant_for else None
        if isinstance(verdict, Serve) and (why := self._twin(link) or _not_wanted(hello, meant_for)):
            verdict = Refuse(why)
        if not isinstance(verdict, Serve):
            await self._turn_away(link, verdict)
            return False
        await self._take_in(link)
        if meant_for is not None:
            await self.attempts.executor_came_back(meant_for, link)
        else:
            await self.attempts.slot_is_idle(link.slot_id)
            self.slots.offer_service(link)
        return True

    async def _greet_busy(self, link: _Link, job_uuid: str) -> bool:
        """An executor with a job belongs to the miner that gave it, whatever UID its slot serves by now."""
        attempt = self.attempts.find(job_uuid)
        if attempt is None or not link.is_of(attempt):
            # it comes from before a restart; the slot may have a new executor, which it must not drive away
            await self._dismiss(link, job_uuid)
        elif why := self._twin(link) or await self.admission.belied(link.badge, link.hello):
            await self._turn_away(link, Refuse(why))
            return False
        else:
            await self._take_in(link)
            self.slots.occupy(attempt.slot_id)
            await self.attempts.executor_came_back(attempt, link)
        return True

    async def _settled(self, link: _Link) -> Verdict:
        """The verdict, once there is one: an unknown slot is held until the picture changes."""
        deadline = asyncio.get_running_loop().time() + _HELD_S
        while True:
            self._changed.clear()
            verdict = await self.admission.verdict(link.badge, link.hello)
            if not isinstance(verdict, Hold):
                return verdict
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return verdict

    async def _take_in(self, link: _Link) -> None:
        if (other := self._live.get(link.slot_id)) is not None:
            # the newest wins: an executor reconnects before a broken link of its own is noticed
            await _closed(other.socket)
        self._live[link.slot_id] = link
        if not link.hello.meant_for:  # the seat that it was started for is counted
            self.slots.expect(link.slot_id, link.executor_class)
        self.refused.forget(link.peer, link.slot_id)
        await self._welcome(link)

    async def _turn_away(self, link: _Link, verdict: SendOn | Hold | Refuse) -> None:
        if isinstance(verdict, SendOn):
            await link.send(render(HordeGoTo(address=verdict.address, placement_epoch=verdict.epoch)))
        else:
            _log.warning("executor refused", slot=link.slot_id, peer=link.peer, why=verdict.why)
            if isinstance(verdict, Refuse):
                self.refused.add(link.peer, link.slot_id, verdict.why)
            await link.send(render(GenericError(details=verdict.why)))

    def _twin(self, link: _Link) -> str | None:
        """Why a second link of a live slot is none of the same holder; ``None`` when it may be."""
        other = self._live.get(link.slot_id)
        if other is None or other.socket.closed:
            return None
        if other.badge != link.badge:
            return f"slot {link.slot_id} is kept by another holder, whose executor is connected"
        if other.peer != link.peer:
            return f"the token of slot {link.slot_id} is in use from {other.peer}"
        return None

    async def _let_know(self) -> None:
        """The picture of who owns what has changed: for those that are held for that."""
        self._changes += 1
        self._changed.set()

    async def _look_again(self) -> None:
        """It has changed: send on what is idle and no longer ours."""
        addresses = self.admission.addresses()
        has_news, self._told_addresses = addresses != self._told_addresses, addresses
        async with asyncio.TaskGroup() as group:  # one that does not read holds up no other
            for link in self._of_any_job() if has_news else ():
                # it may lose this miner long after its greeting
                group.create_task(_briefly(self._welcome(link)))
            if self._misplaced():
                await self._calm()
                for link in self._misplaced():
                    group.create_task(self._look_at(link))

    async def _calm(self) -> None:
        for _ in range(_MOST_WAITS):
            seen = self._changes
            await asyncio.sleep(_CALM_S)
            if seen == self._changes:
                return

    def _of_any_job(self) -> list[_Link]:
        return [link for link in self._live.values() if not link.hello.meant_for]

    def _misplaced(self) -> list[_Link]:
        """Executors that are not plainly right here."""
        return [link for link in self._of_any_job() if not self.admission.stays(link.badge, link.hello)]

    async def _look_at(self, link: _Link) -> None:
        async with self._turns:
            verdict = await self.admission.verdict(link.badge, link.hello)
            if isinstance(verdict, Serve | Hold):
                return
            self.slots.forget(link.slot_id)
            if self.slots.is_idle(link):
                self.slots.withdraw(link)
                await _briefly(self._turn_away(link, verdict))
                await _closed(link.socket)
                await asyncio.sleep(_ARRIVE_S)

    async def _welcome(self, link: _Link) -> None:
        await link.send(
            render(
                HordeWelcome(
                    miner_hotkey=self.miner_hotkey,
                    uid=self.uid(),
                    horde_addresses=self.admission.addresses(),
                )
            )
        )

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
            case HordeLeaving():
                if self.slots.is_idle(link):
                    self.slots.withdraw(link)
                    await link.socket.close()
            case HordeHeartbeat():
                attempt = self.attempts.find(frame.job_uuid)
                if attempt is not None and attempt.executor is link:
                    await self.attempts.alive(attempt)
            case HordeExecutorHello() | V0MachineSpecsRequest() | GenericError():
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
            asyncio.get_running_loop().call_later(_ABSENT_S, self._count_absent, link.slot_id)
        self.slots.withdraw(link)
        self.attempts.executor_gone(link)

    def _count_absent(self, slot_id: str) -> None:
        if slot_id not in self._live:
            self.slots.gave_up(slot_id)

    async def _close_all(self, _app: web.Application) -> None:
        for link in list(self._live.values()):
            await link.socket.close()


def _not_wanted(hello: HordeExecutorHello, attempt: Attempt | None) -> str | None:
    """Why an executor that was made for one attempt may not serve: its attempt is over by now."""
    if hello.meant_for and attempt is None:
        return f"attempt {hello.meant_for:.64} is not open here any more"
    return None


async def _briefly(work: Awaitable[object]) -> None:
    """Do ``work`` without waiting long for a peer that does not read: what is sent has gone to its buffer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEAVE_S):
            await work


async def _closed(socket: web.WebSocketResponse) -> None:
    await _briefly(socket.close())


async def _hello(socket: web.WebSocketResponse) -> HordeExecutorHello:
    try:
        async with asyncio.timeout(_HELLO_S):
            frame = read_from_executor(await socket.receive_str(), FIRST_FRAME_BYTES)
    except (TimeoutError, TypeError) as error:
        raise MalformedFrame("executor.no_greeting", "no greeting came") from error
    if not isinstance(frame, HordeExecutorHello):
        raise MalformedFrame("executor.no_greeting", f"{frame.message_type} came before the greeting")
    return frame
