"""A SQLite driver for an agent's one writer: quick statements run in place, slow ones in a thread.

aiosqlite hands every step of every statement to a thread, which costs many times what the step does.
Inside an open transaction that has its write lock, nothing waits but the commit. Reads keep to
aiosqlite: they may be long. The names are those that SQLAlchemy's adapter for aiosqlite asks for.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

#: Statements that find their pages in memory and take no lock; all others go to a thread.
_QUICK: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "SAVEPOINT", "RELEASE", "ROLLBACK TO")
_LOCK_WAIT_S: Final = 10.0


async def connect(path: str) -> "Connection":
    """Open the database file."""
    return Connection(await asyncio.to_thread(_open, path))


class Connection:
    """One connection; only one task may use it at a time."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._connection = raw

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def cursor(self) -> "Cursor":
        return Cursor(self._connection.cursor())

    async def create_function(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        self._connection.create_function(*arguments, **options)

    async def commit(self) -> None:
        if self.in_transaction:
            await asyncio.to_thread(self._connection.commit)

    async def rollback(self) -> None:
        if self.in_transaction:
            await asyncio.to_thread(self._connection.rollback)

    async def close(self) -> None:
        await asyncio.to_thread(self._connection.close)

    def stop(self) -> None:
        self._connection.close()


class Cursor:
    """One statement and its rows."""

    def __init__(self, raw: sqlite3.Cursor) -> None:
        self._cursor = raw
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
        if statement.startswith(_QUICK):
            self._cursor.execute(statement, parameters)
        else:
            await asyncio.to_thread(self._cursor.execute, statement, parameters)

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._cursor.executemany(statement, rows)

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()


def _open(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
