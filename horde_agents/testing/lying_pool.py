"""A cheat to test against: a pool that claims slots and makes up what their jobs print, running none.

Named in a miner's settings as ``pool = "horde_agents.testing.lying_pool:LyingPool"``.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from horde_agents.agents.miner.pool import HolderPlan, PoolLink
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.jobs.slot_ids import cpu_slot_id
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.frames import render
from horde_agents.protocol.job_frames import V0InitialJobRequest, V0JobRequest
from horde_agents.protocol.miner_executor import PATH, FromMiner, HordeExecutorHello, HordeWelcome
from horde_agents.protocol.miner_executor import read_from_miner as read

_RETRY_S: Final = 0.2


class LyingPool:
    """As many slots as the settings say, behind which there is nothing."""

    outlives_miner = False

    def __init__(self, settings: MinerSettings) -> None:
        names = [name for name, count in sorted(settings.slots.items()) for _ in range(count)]
        node = os.uname().nodename
        self._slots = {cpu_slot_id(node, f"liar-{number}"): name for number, name in enumerate(names)}

    def slots(self) -> Mapping[str, str]:
        return self._slots

    @asynccontextmanager
    async def running(self, link: PoolLink) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            liars = [
                group.create_task(_stay(session, link, slot_id, name))
                for slot_id, name in self._slots.items()
            ]
            try:
                yield
            finally:
                for liar in liars:
                    liar.cancel()


async def _stay(session: aiohttp.ClientSession, link: PoolLink, slot_id: str, executor_class: str) -> None:
    while True:
        try:
            await _one_connection(session, link.plan(slot_id, executor_class))
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(_RETRY_S)


async def _one_connection(session: aiohttp.ClientSession, plan: HolderPlan) -> None:
    async with session.ws_connect(
        f"wss://{plan.miner.host_and_port}{PATH}",
        ssl=aiohttp.Fingerprint(plan.miner.certificate_sha256),
        headers={"Authorization": f"Bearer {plan.token}"},
    ) as socket:
        hello = HordeExecutorHello(slot_id=plan.slot_id, executor_class=plan.executor_class, pid=os.getpid())
        await socket.send_str(render(hello))
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT or not await _answer(socket, read(message.data)):
                return


async def _answer(socket: aiohttp.ClientWebSocketResponse, frame: FromMiner) -> bool:
    """Say what an executor says of a job that went well; False when this connection is over."""
    match frame:
        case HordeWelcome():
            return True
        case V0InitialJobRequest():
            await socket.send_str(render(frames.V0ExecutorReadyRequest(job_uuid=frame.job_uuid)))
            return True
        case V0JobRequest():
            for report in _made_up(frame.job_uuid):
                await socket.send_str(report)
            return True
        case _:
            return False


def _made_up(uuid: str) -> tuple[str, ...]:
    return (
        render(frames.V0VolumesReadyRequest(job_uuid=uuid)),
        render(frames.V0ExecutionDoneRequest(job_uuid=uuid)),
        render(
            frames.V0JobFinishedRequest(
                job_uuid=uuid, docker_process_stdout="all is well\n", docker_process_stderr=""
            )
        ),
    )
