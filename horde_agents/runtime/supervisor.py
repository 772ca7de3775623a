"""Owns an agent's background loops: starts them by name, restarts those that crash, stops them in reverse."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

Loop: TypeAlias = Callable[[], Awaitable[None]]
Work: TypeAlias = Coroutine[Any, Any, None]
Spawn: TypeAlias = Callable[[str, Work], None]

#: A loop that ran this long has recovered: when it ends again, it is started again at once.
_HEALTHY_S: Final = 60.0
_log = get_logger(__name__)


@dataclass(slots=True)
class Supervisor:
    """The owner of named loops and of short-lived work; use through ``supervised``."""

    _group: asyncio.TaskGroup
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _spawned: set[asyncio.Task[None]] = field(default_factory=set)

    def keep(self, name: str, loop: Loop) -> None:
        """Run ``loop`` until the end; when it crashes or returns, start it again after a growing pause."""
        self._tasks.append(self._group.create_task(_kept(name, loop), name=name))

    def spawn(self, name: str, work: Work) -> None:
        """Run ``work`` once; its crash is logged and ends nothing else."""
        task = self._group.create_task(_once(name, work), name=name)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        # A task that is cancelled before its first step never reaches its work, which Python complains of.
        task.add_done_callback(lambda _: work.close())

    async def settle(self, patience_s: float) -> None:
        """Wait up to ``patience_s`` for spawned work, and what it spawns in turn, to end by itself."""
        until_s = monotonic_s() + patience_s
        while self._spawned and (left_s := until_s - monotonic_s()) > 0:
            await asyncio.wait(set(self._spawned), timeout=left_s)

    async def stop(self) -> None:
        """Cancel spawned work, then the loops, last started first; each is over before the next."""
        await self._cancel_spawned()
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait([task])
            await self._cancel_spawned()  # what the loop spawned as it ended

    async def _cancel_spawned(self) -> None:
        while self._spawned:
            for task in self._spawned:
                task.cancel()
            await asyncio.wait(set(self._spawned))


async def _kept(name: str, loop: Loop) -> None:
    while True:
        for delay_s in delays_s(0.5, 30.0, Random()):  # noqa: S311  (spreads restarts, guards nothing)
            if not await _ended_early(name, loop):
                break
            await asyncio.sleep(delay_s)


async def _ended_early(name: str, loop: Loop) -> bool:
    """Run ``loop``; False when it did well for so long that its next crash is a new story."""
    started_s = monotonic_s()
    try:
        await loop()
    except Exception:  # noqa: BLE001  (a supervisor's duty: log, wait, start again)
        _log.exception("loop crashed", loop=name)
    return monotonic_s() - started_s < _HEALTHY_S


async def _once(name: str, work: Work) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001  (one job's crash must not end the agent)
        _log.exception("work crashed", work=name)


@asynccontextmanager
async def supervised() -> AsyncIterator[Supervisor]:
    """A supervisor whose loops all end with the block; the block's own error comes out as it is."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        try:
            yield supervisor
        except Exception as error:  # noqa: BLE001  (raised again below, outside the group that would wrap it)
            failure = error
        finally:
            await supervisor.stop()
    if failure is not None:
        raise failure


async def until_told_to_stop() -> None:
    """Wait for SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    try:
        await told.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
