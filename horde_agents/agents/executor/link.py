"""The executor's connection to its miner: reports in order, re-sent after a break until acknowledged."""

import asyncio
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import aiohttp

from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.jobs.events import JobEvent
from horde_agents.protocol.attempt_reports import report_of
from horde_agents.protocol.frames import MAX_FRAME_BYTES, MalformedFrame, render
from horde_agents.protocol.job_frames import GenericError, HordeCancelJob, V0InitialJobRequest, V0JobRequest
from horde_agents.protocol.miner_executor import (
    PATH,
    FromMiner,
    HordeAck,
    HordeExecutorHello,
    HordeHeartbeat,
    HordeWelcome,
    read_from_miner,
)
from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

_WELCOME_S: Final = 10.0
_log = get_logger(__name__)


class MinerRefused(Exception):
    """The miner does not want this executor: wrong token, or the slot is taken by another link."""


class MinerLost(Exception):
    """The miner stayed away longer than a running job may go on without it."""


@dataclass(slots=True)
class MinerLink:
    """The link of one executor process; ``keep`` holds it open, the queues carry what comes."""

    settings: ExecutorSettings
    offers: "asyncio.Queue[V0InitialJobRequest]" = field(default_factory=asyncio.Queue)
    requests: "asyncio.Queue[V0JobRequest]" = field(default_factory=asyncio.Queue)
    cancelled: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    heartbeat_s: float = 5.0
    _job_uuid: str | None = None
    _told: list[str] = field(default_factory=list)
    _socket: aiohttp.ClientWebSocketResponse | None = None
    _away_since_s: float = 0.0

    @property
    def is_busy(self) -> bool:
        """True from an offer on."""
        return self._job_uuid is not None

    async def keep(self) -> None:
        """Stay connected for as long as the process lives.

        Raises:
            MinerLost: a job runs and the miner has been away longer than the grace.
        """
        self._away_since_s = monotonic_s()
        async with aiohttp.ClientSession() as session:
            while True:
                delays, away_since_s = delays_s(0.05, 5.0, Random()), self._away_since_s  # noqa: S311
                while away_since_s == self._away_since_s:  # until a connection has come and gone
                    try:
                        await self._connected(session)
                    except (aiohttp.ClientError, OSError, MinerRefused, MalformedFrame) as error:
                        _log.warning("miner link failed", error=str(error) or repr(error))
                    if (
                        self._job_uuid
                        and monotonic_s() - self._away_since_s > self.settings.reconnect_grace_s
                    ):
                        raise MinerLost(f"no miner for {self.settings.reconnect_grace_s:g} s")
                    await asyncio.sleep(next(delays))

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

    async def _connected(self, session: aiohttp.ClientSession) -> None:
        token = self.settings.token.get_secret_value()
        async with (
            asyncio.timeout(_WELCOME_S) as limit,
            session.ws_connect(
                f"wss://{self.settings.miner_address}{PATH}",
                ssl=_trusting(self.settings.certificate_file),
                headers={"Authorization": f"Bearer {token}"},
                heartbeat=20.0,
                max_msg_size=MAX_FRAME_BYTES,
            ) as socket,
        ):
            await socket.send_str(render(self._hello()))
            self.heartbeat_s = (await _greeting(socket)).heartbeat_s
            limit.reschedule(None)
            for text in self._told:
                await socket.send_str(text)
            self._socket = socket
            try:
                await self._receive(socket)
            finally:
                self._socket = None
                self._away_since_s = monotonic_s()

    def _hello(self) -> HordeExecutorHello:
        settings = self.settings
        return HordeExecutorHello(
            slot_id=settings.slot_id,
            executor_class=settings.executor_class,
            pid=os.getpid(),
            running_job_uuid=self._job_uuid,
            devices=settings.gpu_uuids,
        )

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                self._take(read_from_miner(message.data))
            except MalformedFrame as error:
                _log.warning("miner sent a malformed frame", error=str(error))
                await socket.send_str(render(GenericError(details=str(error))))

    def _take(self, frame: FromMiner) -> None:
        match frame:
            case V0InitialJobRequest():
                if self._job_uuid is None:
                    self._job_uuid = frame.job_uuid
                    self.offers.put_nowait(frame)
            case V0JobRequest() if frame.job_uuid == self._job_uuid and self.requests.empty():
                self.requests.put_nowait(frame)
            case HordeCancelJob() if frame.job_uuid == self._job_uuid:
                self.cancelled.put_nowait(frame.message)
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


async def _greeting(socket: aiohttp.ClientWebSocketResponse) -> HordeWelcome:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise MinerRefused(f"the miner closed the link instead of greeting: {socket.close_code}")
    frame = read_from_miner(message.data)
    if not isinstance(frame, HordeWelcome):
        why = frame.details if isinstance(frame, GenericError) else frame.message_type
        raise MinerRefused(f"the miner answered the greeting with: {why}")
    return frame


def _trusting(certificate_file: Path) -> ssl.SSLContext:
    """Trusts the miner's own certificate and nothing else."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(certificate_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
