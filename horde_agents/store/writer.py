"""Groups writes: whatever waits for the disk at one time goes into one transaction.

A caller gets its answer only after the commit. When one unit of a group fails, the group is undone
and run again with a savepoint around each, so that the others stay whole; a unit therefore changes
nothing but the database.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar

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


class TransactionLost(Exception):
    """The database undid a whole transaction by itself, as when its disk is full; nothing was stored."""


class _UnitFailed(Exception):
    """A unit raised ``cause``, inside a transaction that it shares."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a unit returned."""

    value: Any


_Outcome: TypeAlias = _Stored | Exception


@dataclass(slots=True)
class _Waiting(Generic[T]):
    unit: Unit[T]
    done: asyncio.Future[T]

    def answer(self, outcome: _Outcome) -> None:
        """Tell the caller, if it still waits."""
        if self.done.cancelled():
            return
        if isinstance(outcome, _Stored):
            self.done.set_result(outcome.value)
        else:
            self.done.set_exception(outcome)


@dataclass(slots=True)
class Writer:
    """The only writer of a database; use through ``writing``."""

    _engine: AsyncEngine
    _queue: "asyncio.Queue[_Waiting[Any] | None]" = field(default_factory=lambda: asyncio.Queue(_QUEUE))
    _stopped: bool = False

    async def run(self, unit: Unit[T]) -> T:
        """Run ``unit`` in a transaction shared with others and return its value once it is on disk.

        Waits for room while thousands of writes wait already. A caller that is cancelled does not
        take its write back.

        Raises:
            StoreStopped: the writer has been stopped.
            Exception: whatever ``unit`` or the commit raised; then nothing of it was stored.
        """
        waiting = self._waiting(unit)
        await self._queue.put(waiting)
        return await waiting.done

    def queue(self, unit: Unit[T]) -> "asyncio.Future[T]":
        """As ``run``, without waiting: order is kept among all units of this writer.

        Raises:
            StoreStopped: the writer has been stopped.
            asyncio.QueueFull: thousands of writes wait already.
        """
        waiting = self._waiting(unit)
        self._queue.put_nowait(waiting)
        return waiting.done

    def behind(self, unit: Unit[Any]) -> None:
        """Store without anyone waiting, in order with all other units; a failure is logged."""
        self.queue(unit).add_done_callback(_log_failure)

    def _waiting(self, unit: Unit[T]) -> _Waiting[T]:
        if self._stopped:
            raise StoreStopped("The database is closed; this write was not stored.")
        return _Waiting(unit, asyncio.get_running_loop().create_future())

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
        await asyncio.sleep(0)  # whoever else is ready to write joins in: a commit costs more than a turn
        while len(batch) < _BATCH and not self._queue.empty():
            item = self._queue.get_nowait()
            if item:
                batch.append(item)
        return batch

    async def _write(self, batch: "list[_Waiting[Any]]") -> None:
        outcomes: list[_Outcome]
        try:
            outcomes = await self._write_together(batch)
        except _UnitFailed as failed:
            outcomes = [failed.cause] if len(batch) == 1 else await self._write_apart(batch)
        except Exception as error:  # noqa: BLE001  (the commit failed: each caller gets the cause)
            outcomes = [error] * len(batch)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.answer(outcome)

    async def _write_together(self, batch: "list[_Waiting[Any]]") -> "list[_Outcome]":
        async with self._engine.begin() as connection:
            driver = await _driver(connection)
            return [await _run(connection, driver, waiting.unit) for waiting in batch]

    async def _write_apart(self, batch: "list[_Waiting[Any]]") -> "list[_Outcome]":
        """As ``_write_together``, with a savepoint around each unit: one that fails leaves the rest whole."""
        try:
            async with self._engine.begin() as connection:
                driver = await _driver(connection)
                return [await _run_apart(connection, driver, waiting.unit) for waiting in batch]
        except Exception as error:  # noqa: BLE001  (the commit failed: each caller gets the cause)
            return [error] * len(batch)

    async def _stop(self) -> None:
        self._stopped = True
        await self._queue.put(None)


def _log_failure(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        _log.error("write behind failed", error=str(error))


async def _driver(connection: AsyncConnection) -> object:
    return (await connection.get_raw_connection()).driver_connection


async def _run(connection: AsyncConnection, driver: object, unit: Unit[Any]) -> "_Outcome":
    try:
        value = await unit(connection)
    except Exception as error:
        raise _UnitFailed(error) from error
    _refuse_lost(driver)
    return _Stored(value)


async def _run_apart(connection: AsyncConnection, driver: object, unit: Unit[Any]) -> "_Outcome":
    try:
        async with connection.begin_nested():
            value = await unit(connection)
    except Exception as error:  # noqa: BLE001  (this unit's caller gets it; the batch goes on)
        _refuse_lost(driver, error)
        return error
    _refuse_lost(driver)
    return _Stored(value)


def _refuse_lost(driver: object, cause: Exception | None = None) -> None:
    """SQLite may end a transaction by itself, and then commits nothing without a word."""
    if not getattr(driver, "in_transaction", True):
        raise TransactionLost(f"The database undid the transaction; nothing was stored: {cause}") from cause


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[Writer]:
    """A writer that has stored everything it was given when the block ends."""
    writer = Writer(engine)
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(writer._serve(), name="store writer")
        try:
            yield writer
        except Exception as error:  # noqa: BLE001  (raised again below, outside the group that would wrap it)
            failure = error
        finally:
            await writer._stop()
            await asyncio.wait([serving])
    if failure is not None:
        raise failure
