"""Owns an agent's background loops: starts them by name, restarts those that crash, stops them in reverse."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.logs import get_logger

Loop: TypeAlias = Callable[[], Awaitable[None]]

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

    def spawn(self, name: str, work: Awaitable[None]) -> None:
        """Run ``work`` once; its crash is logged and ends nothing else."""
        task = self._group.create_task(_once(name, work), name=name)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    async def settle(self, patience_s: float) -> None:
        """Wait up to ``patience_s`` for spawned work to end by itself."""
        if self._spawned:
            await asyncio.wait(set(self._spawned), timeout=patience_s)

    async def stop(self) -> None:
        """Cancel spawned work, then the loops, last started first."""
        for task in [*self._spawned, *reversed(self._tasks)]:
            task.cancel()
            await asyncio.wait([task])


async def _kept(name: str, loop: Loop) -> None:
    delays = delays_s(0.5, 30.0, Random())  # noqa: S311  (spreads restarts, guards nothing)
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001  (a supervisor's duty: log, wait, start again)
            _log.exception("loop crashed", loop=name)
        await asyncio.sleep(next(delays))


async def _once(name: str, work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001  (one job's crash must not end the agent)
        _log.exception("work crashed", work=name)


@asynccontextmanager
async def supervised() -> AsyncIterator[Supervisor]:
    """A supervisor whose loops all end with the block."""
    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        try:
            yield supervisor
        finally:
            await supervisor.stop()


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
