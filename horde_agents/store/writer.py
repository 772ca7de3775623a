"""Groups writes: whatever waits for the disk at one time goes into one transaction.

A unit of work runs in a savepoint of its own, so one that fails leaves the others whole. A caller
gets its answer only after the commit.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from horde_agents.runtime.logs import get_logger

T = TypeVar("T")
Unit = Callable[[AsyncConnection], Awaitable[T]]

#: Units in one transaction at most, and units that may wait before callers are held back.
_BATCH: Final = 128
_QUEUE: Final = 4096
_log = get_logger(__name__)


class StoreStopped(Exception):
    """A write came after the store was closed; nothing was stored."""


@dataclass(slots=True)
class _Waiting(Generic[T]):
    unit: Unit[T]
    done: asyncio.Future[T]


@dataclass(slots=True)
class Writer:
    """The only writer of a database; use through ``writing``."""

    _engine: AsyncEngine
    _queue: "asyncio.Queue[_Waiting[Any] | None]" = field(default_factory=lambda: asyncio.Queue(_QUEUE))
    _stopped: bool = False

    async def run(self, unit: Unit[T]) -> T:
        """Run ``unit`` in a transaction shared with others and return its value once it is on disk.

        Raises:
            StoreStopped: the writer has been stopped.
            Exception: whatever ``unit`` or the commit raised; then nothing of it was stored.
        """
        return await self.queue(unit)

    def queue(self, unit: Unit[T]) -> "asyncio.Future[T]":
        """As ``run``, without waiting: order is kept among all units of this writer.

        Raises:
            StoreStopped: the writer has been stopped.
            asyncio.QueueFull: thousands of writes wait already.
        """
        if self._stopped:
            raise StoreStopped("The database is closed; this write was not stored.")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(unit, done))
        return done

    def behind(self, unit: Unit[Any]) -> None:
        """Store without anyone waiting, in order with all other units; a failure is logged."""
        self.queue(unit).add_done_callback(_log_failure)

    async def _serve(self) -> None:
        while True:
            batch = await self._next_batch()
            if batch:
                await self._write(batch)
            if self._stopped and self._queue.empty():
                return

    async def _next_batch(self) -> "list[_Waiting[Any]]":
        first = await self._queue.get()
        batch = [first] if first else []
        while len(batch) < _BATCH and not self._queue.empty():
            item = self._queue.get_nowait()
            if item:
                batch.append(item)
        return batch

    async def _write(self, batch: "list[_Waiting[Any]]") -> None:
        results: list[tuple[asyncio.Future[Any], Any, Exception | None]] = []
        try:
            async with self._engine.begin() as connection:
                results = [await _run_one(connection, waiting, alone=len(batch) == 1) for waiting in batch]
        except Exception as error:  # noqa: BLE001  (the commit failed: each caller gets the cause)
            results = [(waiting.done, None, error) for waiting in batch]
        for done, value, failure in results:
            if done.cancelled():
                continue
            if failure is None:
                done.set_result(value)
            else:
                done.set_exception(failure)

    async def _stop(self) -> None:
        self._stopped = True
        await self._queue.put(None)


def _log_failure(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        _log.error("write behind failed", error=str(error))


async def _run_one(
    connection: AsyncConnection, waiting: _Waiting[T], *, alone: bool
) -> tuple[asyncio.Future[T], T | None, Exception | None]:
    if alone:  # the transaction itself undoes a lone unit
        return waiting.done, await waiting.unit(connection), None
    try:
        async with connection.begin_nested():
            return waiting.done, await waiting.unit(connection), None
    except Exception as error:  # noqa: BLE001  (this unit's caller gets it; the batch goes on)
        return waiting.done, None, error


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[Writer]:
    """A writer that has stored everything it was given when the block ends."""
    writer = Writer(engine)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer._serve(), name="store writer")
        try:
            yield writer
        finally:
            await writer._stop()
