"""The embedded pool: holders as child processes of the miner, for one machine without Nomad."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from horde_agents.agents.miner.pool import HolderPlan, PoolLink
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.jobs.slot_ids import cpu_slot_id
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.logs import get_logger

#: Environment of the miner that a holder needs too; nothing else of it is handed on.
_KEPT: Final = ("PATH", "HOME", "LANG", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "PYTHONPATH")
_log = get_logger(__name__)


class ProcessPool:
    """One holder a slot, started again when it ends; they end with the miner."""

    outlives_miner = False

    def __init__(self, settings: MinerSettings) -> None:
        node, kept_by = os.uname().nodename, ""
        if settings.shares_slots:
            # several miners of this machine keep slots, and no two of them the same
            hotkey = KeypairSigner.from_hotkey_file(settings.hotkey_file).hotkey
            kept_by = f"{hotkey[-6:]}-"
        self._slots = {
            cpu_slot_id(node, f"{kept_by}{number}"): name
            for number, name in enumerate(
                name for name, count in sorted(settings.slots.items()) for _ in range(count)
            )
        }

    def slots(self) -> Mapping[str, str]:
        return self._slots

    @asynccontextmanager
    async def running(self, link: PoolLink) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            keepers = [
                group.create_task(_keep(link, slot_id, name), name=f"holder {slot_id}")
                for slot_id, name in self._slots.items()
            ]
            try:
                yield
            finally:
                for keeper in keepers:
                    keeper.cancel()


async def _keep(link: PoolLink, slot_id: str, executor_class: str) -> None:
    delays = delays_s(0.5, 30.0, Random())  # noqa: S311  (spreads restarts)
    while True:
        holder = await _start(link.settings, link.plan(slot_id, executor_class))
        try:
            status = await holder.wait()
        except asyncio.CancelledError:
            await _end(holder, link.settings.drain_s)
            raise
        _log.warning("holder ended, starting another", slot=slot_id, status=status)
        await asyncio.sleep(next(delays))


async def _start(settings: MinerSettings, plan: HolderPlan) -> asyncio.subprocess.Process:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env = {
        **kept,
        **settings.executor_env,
        "HORDE_EXECUTOR_SLOT_ID": plan.slot_id,
        "HORDE_EXECUTOR_EXECUTOR_CLASS": plan.executor_class,
        "HORDE_EXECUTOR_MINERS": str(plan.miner),
        "HORDE_EXECUTOR_SPIN_UP_S": str(CATALOGUE[plan.executor_class].spin_up_s),
        "HORDE_EXECUTOR_TOKEN": plan.token,
        "HORDE_EXECUTOR_WORK_DIR": str(settings.data_dir / "slots"),
        "HORDE_EXECUTOR_DIE_WITH_PARENT": "true",
        "HORDE_EXECUTOR_PARENT_PID": str(os.getpid()),
        "HORDE_EXECUTOR_LOG_LEVEL": settings.log_level,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "horde_agents.agents.executor", env=env, stdin=asyncio.subprocess.DEVNULL
    )


async def _end(holder: asyncio.subprocess.Process, drain_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        holder.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(holder.wait(), drain_s + 10.0)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            holder.kill()
        await holder.wait()
