"""A SQLite driver under SQLAlchemy's: quick statements run in place, slow ones in the connection's thread.

aiosqlite hands every step of every statement to a thread: a dozen hand-overs for one read, each of which
costs many times what the step does. Here a read is one hand-over and a write's commit is one. Inside an
open transaction that has its write lock only many rows at once are another. The names are those that
SQLAlchemy's adapter for aiosqlite asks for.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: What neither waits for another process nor reads much. A transaction that only reads takes its lock later.
_READER_IN_PLACE: Final = ("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK")
#: Inside a transaction that has its lock: these find their pages in memory.
_WRITER_IN_PLACE: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "SAVEPOINT", "RELEASE", "ROLLBACK TO")
_BEGIN_WRITE: Final = "BEGIN IMMEDIATE"
_LOCK_WAIT_S: Final = 10.0
#: The low byte of an extended result code is the code.
_CODE: Final = 0xFF
#: Rows that come with a statement's own hand-over; most reads are done with it.
_FIRST_ROWS: Final = 256
#: Rows that take about as long to write as a hand-over.
_ROWS_IN_PLACE: Final = 16


async def connect_reader(path: str) -> "Connection":
    """Open the database file for reads, which may be long."""
    return await _connected(path, _READER_IN_PLACE)


async def connect_writer(path: str) -> "Connection":
    """Open the database file for an agent's one writer."""
    return await _connected(path, _WRITER_IN_PLACE)


async def _connected(path: str, in_place: tuple[str, ...]) -> "Connection":
    thread = ThreadPoolExecutor(1, "sqlite")
    opened = partial(sqlite3.connect, path, _LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        raw = await asyncio.get_running_loop().run_in_executor(thread, opened)
    except BaseException:
        thread.shutdown(wait=False)
        raise
    return Connection(raw, thread, in_place)


class Connection:
    """One connection and its thread; only one task may use it at a time."""

    def __init__(
        self, raw: sqlite3.Connection, thread: ThreadPoolExecutor, in_place: tuple[str, ...]
    ) -> None:
        self._connection = raw
        self._thread = thread
        self._in_place = in_place
        self._was_called_off = False
        self._closing: Future[None] | None = None

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def cursor(self) -> "Cursor":
        return Cursor(self, self._connection.cursor())

    async def create_function(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        self._connection.create_function(*arguments, **options)

    async def commit(self) -> None:
        if self.in_transaction:
            await self.apart(self._connection.commit)

    async def rollback(self) -> None:
        if not self.in_transaction:
            return
        if self.can_run_in_place("ROLLBACK"):
            self._connection.rollback()
        else:
            await self.apart(self._connection.rollback)

    async def close(self) -> None:
        await asyncio.wrap_future(self._closed())

    def stop(self) -> None:
        self._closed()

    def can_run_in_place(self, statement: str) -> bool:
        """Whether it is quick; nothing is once the thread may still have what a cancelled task gave it."""
        return not self._was_called_off and statement.startswith(self._in_place)

    async def apart(self, call: Callable[[], T]) -> T:
        """Run in the connection's thread, behind whatever that still does."""
        try:
            return await asyncio.wrap_future(self._thread.submit(call))
        except asyncio.CancelledError:
            self._was_called_off = True  # it goes on, and nobody is told of its end
            raise

    def begins_at_once(self) -> bool:
        """Take the write lock, unless another process has it or the thread may have something to do."""
        if self._was_called_off:
            return False
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            self._connection.execute(_BEGIN_WRITE)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _CODE != sqlite3.SQLITE_BUSY:
                raise
            return False
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {_LOCK_WAIT_S * 1000:.0f}")
        return True

    def _closed(self) -> "Future[None]":
        """Break off what still runs, which nobody waits for, and close behind it; once is enough."""
        if self._closing is None:
            self._connection.interrupt()
            self._closing = self._thread.submit(self._connection.close)
            self._thread.shutdown(wait=False)
        return self._closing


class Cursor:
    """One statement and its rows, some of which may have been read ahead."""

    def __init__(self, connection: Connection, raw: sqlite3.Cursor) -> None:
        self._connection = connection
        self._cursor = raw
        self._ahead: list[Any] = []
        self._is_at_end = False
        self.arraysize = 1

    async def __aenter__(self) -> "Cursor":
        return self

    @property
    def description(self) -> Any:  # noqa: ANN401  (as the database interface has it)
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        self._ahead, self._is_at_end = [], False
        if self._connection.can_run_in_place(statement):
            self._cursor.execute(statement, parameters)
        elif statement != _BEGIN_WRITE or not self._connection.begins_at_once():
            await self._connection.apart(lambda: self._execute(statement, parameters))

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if len(rows) <= _ROWS_IN_PLACE and self._connection.can_run_in_place(statement):
            self._cursor.executemany(statement, rows)
        else:
            await self._connection.apart(lambda: self._cursor.executemany(statement, rows))

    async def fetchone(self) -> Any:  # noqa: ANN401  (a row)
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        wanted = self.arraysize if size is None else size
        if len(self._ahead) < wanted and not self._is_at_end:
            lacking = wanted - len(self._ahead)
            self._ahead += await self._connection.apart(lambda: self._cursor.fetchmany(lacking))
        rows, self._ahead = self._ahead[:wanted], self._ahead[wanted:]
        return rows

    async def fetchall(self) -> list[Any]:
        rows, self._ahead = self._ahead, []
        if self._is_at_end:
            return rows
        if self._connection.can_run_in_place("SELECT"):
            return rows + self._cursor.fetchall()
        return rows + await self._connection.apart(self._cursor.fetchall)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while rows := await self.fetchmany(_FIRST_ROWS):
            for row in rows:
                yield row

    async def close(self) -> None:
        self._cursor.close()

    def _execute(self, statement: str, parameters: Sequence[Any]) -> None:
        self._cursor.execute(statement, parameters)
        if self._cursor.description is not None:
            self._ahead = self._cursor.fetchmany(_FIRST_ROWS)
            self._is_at_end = len(self._ahead) < _FIRST_ROWS
