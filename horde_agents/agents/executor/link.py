"""The executor's connection to its miner: reports in order, re-sent after a break until acknowledged."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

import aiohttp

from horde_agents.agents.executor.address_book import AddressBook
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.jobs.events import JobEvent
from horde_agents.protocol.attempt_reports import report_of
from horde_agents.protocol.frames import MAX_FRAME_BYTES, MalformedFrame, render
from horde_agents.protocol.job_frames import GenericError, HordeCancelJob, V0InitialJobRequest, V0JobRequest
from horde_agents.protocol.miner_address import MinerAddress
from horde_agents.protocol.miner_executor import (
    PATH,
    FromMiner,
    HordeAck,
    HordeExecutorHello,
    HordeGoTo,
    HordeHeartbeat,
    HordeLeaving,
    HordeWelcome,
    read_from_miner,
)
from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

_WELCOME_S: Final = 10.0
#: Times an executor goes at once where it is sent; beyond, the miners disagree, and it waits before it asks.
_MOST_SENT_ON: Final = 3
#: Refusals in a row after which an executor that was made for one attempt takes it that it is not wanted.
_MOST_REFUSED: Final = 2
#: A connection that was in service so long has held: the next that breaks is a new story.
_HELD_S: Final = 1.0
#: Addresses of one welcome that are read.
_MOST_ADDRESSES: Final = 256
#: Addresses that an error names.
_MOST_SHOWN: Final = 8
_log = get_logger(__name__)


class MinerRefused(Exception):
    """The miner does not want this executor: wrong token, or the slot is taken by another link."""


class _SentOn(Exception):
    """The slot serves another miner; the address book says which."""


class MinersGone(Exception):
    """None of the miners that this executor knows has been there for long: they are elsewhere, or no more."""


class MinerLost(Exception):
    """The miner stayed away longer than a running job may go on without it."""


@dataclass(slots=True)
class MinerLink:
    """The link of one executor process; ``keep`` holds it open, the queues carry what comes."""

    settings: ExecutorSettings
    book: AddressBook
    offers: "asyncio.Queue[V0InitialJobRequest]" = field(default_factory=asyncio.Queue)
    requests: "asyncio.Queue[V0JobRequest]" = field(default_factory=asyncio.Queue)
    cancelled: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    parted: asyncio.Event = field(default_factory=asyncio.Event)
    heartbeat_s: float = 5.0
    _job_uuid: str | None = None
    _told: list[str] = field(default_factory=list)
    _socket: aiohttp.ClientWebSocketResponse | None = None
    _away_since_s: float = 0.0
    _heard_s: float = 0.0
    _sent_on: int = 0
    _refused: int = 0
    _has_held: bool = False

    async def keep(self) -> None:
        """Stay connected for as long as the process lives: to the miner whose job runs, else to whoever
        the slot serves.

        Raises:
            MinerLost: a job runs and the miner has been away longer than the grace.
            MinerRefused: the attempt for which this executor was made is not to be had.
            MinersGone: no job runs, and no miner has taken a greeting for longer than ``lonely_s``.
        """
        self._away_since_s = self._heard_s = monotonic_s()
        async with aiohttp.ClientSession() as session:
            delays = _delays()
            while True:
                self._has_held = False
                try:
                    await self._connected(session)
                except _SentOn:
                    if self._sent_on <= _MOST_SENT_ON:
                        continue
                except (aiohttp.ClientError, OSError, MinerRefused, MalformedFrame) as error:
                    _log.warning("miner link failed", error=str(error) or repr(error))
                    self._count_refusal(error)
                    if not self._job_uuid:  # a running job is known to its own miner alone
                        self.book.pass_over()
                if self._job_uuid and monotonic_s() - self._away_since_s > self.settings.reconnect_grace_s:
                    raise MinerLost(f"no miner for {self.settings.reconnect_grace_s:g} s")
                self._check_lonely()
                if self._has_held:
                    delays = _delays()
                await asyncio.sleep(next(delays))

    def _check_lonely(self) -> None:
        lonely_s = self.settings.lonely_s
        if lonely_s and not self._job_uuid and monotonic_s() - self._heard_s > lonely_s:
            known = ", ".join(address.partition("/")[0] for address in self.book.addresses()[:_MOST_SHOWN])
            raise MinersGone(f"no miner has answered for {lonely_s:g} s; known are {known}")

    def _count_refusal(self, error: Exception) -> None:
        """Raise the last of several in a row, where nobody else may want this executor."""
        self._refused = self._refused + 1 if isinstance(error, MinerRefused) else 0
        if self.settings.meant_for and not self._job_uuid and self._refused >= _MOST_REFUSED:
            raise error

    async def tell(self, event: JobEvent) -> None:
        """Report ``event``; it is sent again on every later connection until the final acknowledgement."""
        assert self._job_uuid
        report = report_of(event, self._job_uuid)
        if report is not None:
            text = render(report)
            self._told.append(text)
            await self._send(text)

    async def beat(self, heartbeat: HordeHeartbeat) -> None:
        """Say that the job is alive; lost beats are not repeated."""
        await self._send(render(heartbeat))

    async def leave(self) -> None:
        """Ask to be let go; an offer that is on its way still comes before ``parted``."""
        if self._socket is None:
            self.parted.set()
        await self._send(render(HordeLeaving()))

    async def _connected(self, session: aiohttp.ClientSession) -> None:
        miner = MinerAddress.read(self.book.addresses()[0])
        async with (
            asyncio.timeout(_WELCOME_S) as limit,
            session.ws_connect(
                f"wss://{miner.host_and_port}{PATH}",
                ssl=aiohttp.Fingerprint(miner.certificate_sha256),
                headers={"Authorization": f"Bearer {self.settings.token_text()}"},
                heartbeat=20.0,
                max_msg_size=MAX_FRAME_BYTES,
            ) as socket,
        ):
            await socket.send_str(render(self._hello()))
            self._heard_s = monotonic_s()
            await self._greeted(socket)
            limit.reschedule(None)
            for text in self._told:
                await socket.send_str(text)
            self._socket, begun_s = socket, monotonic_s()
            try:
                await self._receive(socket)
            finally:
                self._socket = None
                self.parted.set()
                self._away_since_s = self._heard_s = monotonic_s()
                self._has_held = self._away_since_s - begun_s >= _HELD_S

    async def _greeted(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        frame = await _first_frame(socket)
        if isinstance(frame, HordeGoTo):
            self._go_to(frame)
            raise _SentOn
        if not isinstance(frame, HordeWelcome):
            why = frame.details if isinstance(frame, GenericError) else frame.message_type
            raise MinerRefused(f"the miner answered the greeting with: {why}")
        self._sent_on = self._refused = 0
        self.heartbeat_s = frame.heartbeat_s
        _log.info("serves", slot=self.settings.slot_id, uid=frame.uid, miner=frame.miner_hotkey)
        self.book.learn(_readable(frame.horde_addresses))

    def _go_to(self, frame: HordeGoTo) -> None:
        try:
            self.book.go_to(str(MinerAddress.read(frame.address)), frame.placement_epoch)
        except ValueError as error:
            raise MalformedFrame("executor.wrong_address", str(error)) from error
        self._sent_on += 1
        _log.info("sent on", slot=self.settings.slot_id, to=frame.address.partition("/")[0])

    def _hello(self) -> HordeExecutorHello:
        settings = self.settings
        return HordeExecutorHello(
            slot_id=settings.slot_id,
            executor_class=settings.executor_class,
            pid=os.getpid(),
            running_job_uuid=self._job_uuid,
            devices=settings.gpu_uuids,
            meant_for=settings.meant_for or None,
            placement_epoch=self.book.epoch,
        )

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                frame = read_from_miner(message.data)
                if isinstance(frame, HordeGoTo) and self._job_uuid is None:
                    self._go_to(frame)
                    return
                self._take(frame)
            except MalformedFrame as error:
                _log.warning("miner sent a malformed frame", error=str(error))
                await socket.send_str(render(GenericError(details=str(error))))

    def _take(self, frame: FromMiner) -> None:
        match frame:
            case V0InitialJobRequest():
                if self._job_uuid is None:
                    self._job_uuid = frame.job_uuid
                    _log.info("attempt begins", slot=self.settings.slot_id, job=frame.job_uuid)
                    self.offers.put_nowait(frame)
            case V0JobRequest() if frame.job_uuid == self._job_uuid and self.requests.empty():
                self.requests.put_nowait(frame)
            case HordeCancelJob() if frame.job_uuid == self._job_uuid:
                self.cancelled.put_nowait(frame.message)
            case HordeWelcome():
                self.book.learn(_readable(frame.horde_addresses))  # who is there has changed
            case HordeAck() if frame.job_uuid == self._job_uuid:
                self.acknowledged.set()
            case _:
                _log.info("frame ignored", kind=frame.message_type)

    async def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, ConnectionError) as error:
            _log.warning("report not sent, will be repeated", error=repr(error))


async def _first_frame(socket: aiohttp.ClientWebSocketResponse) -> FromMiner:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise MinerRefused(f"the miner closed the link instead of greeting: {socket.close_code}")
    return read_from_miner(message.data)


def _readable(addresses: list[str]) -> list[str]:
    """Those of ``addresses`` that have the form of one."""
    readable, wrong = [], []
    for text in dict.fromkeys(addresses[:_MOST_ADDRESSES]):
        try:
            readable.append(str(MinerAddress.read(text)))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        _log.warning("addresses left out", count=len(wrong), error=wrong[0])
    return readable


def _delays() -> Iterator[float]:
    return delays_s(0.05, 5.0, Random())  # noqa: S311  (spreads retries)
