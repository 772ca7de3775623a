"""The shared store of a horde on one machine: an SQLite file that several miners open at once.

The same contract as Consul's; sessions run out by wall clock, and a watch looks at one counter.
"""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError

from horde_agents.placement.coordination import (
    MAX_CHANGES,
    Change,
    CoordinationAway,
    Delete,
    Entry,
    Held,
    Put,
    Session,
    SessionLost,
    Snapshot,
)

T = TypeVar("T")
_LOCK_WAIT_S: Final = 5.0
#: Seconds between two looks of a watch, from the first to the longest.
_LOOK_S: Final = (0.02, 0.2)

_metadata = MetaData()
_entries = Table(
    "entries",
    _metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
    Column("index", Integer, nullable=False),
    Column("session", String),
)
_sessions = Table(
    "sessions",
    _metadata,
    Column("session", String, primary_key=True),
    Column("ttl_s", Float, nullable=False),
    Column("ends_at_s", Float, nullable=False),
    Column("ephemeral", Boolean, nullable=False),
)
_counter = Table("counter", _metadata, Column("value", Integer, nullable=False))


class StoredCoordination:
    """``Coordination`` in an SQLite file; ``close`` it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = create_engine(
            f"sqlite:///{path}", connect_args={"timeout": _LOCK_WAIT_S, "isolation_level": None}
        )
        event.listen(self._engine, "connect", _set_up)
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        self._is_ready = False

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._engine.dispose)

    async def snapshot(self, prefix: str) -> Snapshot:
        return await self._do(lambda connection: _snapshot(connection, prefix))

    async def changed(self, prefix: str, index: int, wait_s: float) -> Snapshot:
        deadline_s, pause_s = time.monotonic() + wait_s, _LOOK_S[0]
        while await self._do(_index) == index and time.monotonic() < deadline_s:
            await asyncio.sleep(min(pause_s, max(deadline_s - time.monotonic(), 0)))
            pause_s = min(pause_s * 2, _LOOK_S[1])
        return await self.snapshot(prefix)

    async def commit(self, changes: Sequence[Change]) -> bool:
        if len(changes) > MAX_CHANGES:
            raise ValueError(f"{len(changes)} changes in one transaction; {MAX_CHANGES} are the most")
        return await self._do(lambda connection: _commit(connection, changes))

    async def open_session(self, name: str, ttl_s: float, *, ephemeral: bool) -> Session:
        session = Session(secrets.token_hex(16))
        row = {
            "session": session,
            "ttl_s": ttl_s,
            "ends_at_s": time.time() + ttl_s,
            "ephemeral": ephemeral,
        }
        await self._do(lambda connection: connection.execute(insert(_sessions), row))
        return session

    async def renew(self, session: Session) -> None:
        if not await self._do(lambda connection: _renew(connection, session)):
            raise SessionLost(f"session {session} has ended")

    async def close_session(self, session: Session) -> None:
        await self._do(lambda connection: _end(connection, session))

    async def acquire(self, key: str, value: str, session: Session) -> bool:
        taken = await self._do(lambda connection: _acquire(connection, key, value, session))
        if taken is None:
            raise SessionLost(f"session {session} has ended")
        return taken

    async def release(self, key: str, session: Session) -> None:
        await self._do(lambda connection: _release(connection, key, session))

    async def _do(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction, after ending the sessions whose time is up."""
        try:
            return await asyncio.to_thread(self._transact, work)
        except (DBAPIError, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise CoordinationAway(f"The placement file {self._path} cannot be used: {cause}.") from error

    def _transact(self, work: Callable[[Connection], T]) -> T:
        if not self._is_ready:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
        with self._engine.begin() as connection:
            if not self._is_ready:
                _metadata.create_all(connection)
                if connection.execute(select(_counter)).first() is None:
                    connection.execute(insert(_counter), {"value": 1})
            over = select(_sessions.c.session).where(_sessions.c.ends_at_s < time.time())
            for session in connection.execute(over).scalars().all():
                _end(connection, Session(session))
            result = work(connection)
        self._is_ready = True
        return result


def _set_up(connection: Any, _record: object) -> None:  # noqa: ANN401  (the driver's own type)
    # one value that a hand has spoilt must not make all of them unreadable
    connection.text_factory = _text
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes, the reconciler puts right


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Several may open a new file at once, and the change of mode waits for no lock by itself."""
    deadline_s = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _snapshot(connection: Connection, prefix: str) -> Snapshot:
    query = select(_entries).where(_entries.c.key.startswith(prefix, autoescape=True))
    rows = connection.execute(query)
    return Snapshot(_index(connection), {row.key: _entry(row) for row in rows})


def _entry(row: Any) -> Entry:  # noqa: ANN401  (a row)
    value = row.value if isinstance(row.value, str) else _text(row.value)
    return Entry(value, row.index, Session(row.session) if row.session else None)


def _index(connection: Connection) -> int:
    return int(connection.execute(select(_counter.c.value)).scalar_one())


def _next_index(connection: Connection) -> int:
    connection.execute(update(_counter).values(value=_counter.c.value + 1))
    return _index(connection)


def _known(connection: Connection, key: str) -> Entry | None:
    row = connection.execute(select(_entries).where(_entries.c.key == key)).one_or_none()
    return _entry(row) if row else None


def _commit(connection: Connection, changes: Sequence[Change]) -> bool:
    if not all(_holds(_known(connection, change.key), change) for change in changes):
        return False
    index = _next_index(connection)
    for change in changes:
        match change:
            case Put(key, value):
                _write(connection, key, value, index)
            case Delete(key):
                connection.execute(delete(_entries).where(_entries.c.key == key))
            case Held():
                pass
    return True


def _holds(known: Entry | None, change: Change) -> bool:
    match change:
        case Put(_, _, None):
            return True
        case Put(_, _, 0):
            return known is None
        case Put(_, _, index) | Delete(_, index):
            return known is not None and known.index == index
        case Held(_, session):
            return known is not None and known.session == session


def _write(connection: Connection, key: str, value: str, index: int) -> None:
    values = {"key": key, "value": value, "index": index}
    statement = upsert(_entries).values(values)
    changed = {"value": value, "index": index}
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=changed))


def _lives(connection: Connection, session: Session) -> bool:
    return connection.execute(select(_sessions).where(_sessions.c.session == session)).first() is not None


def _renew(connection: Connection, session: Session) -> bool:
    ends_at_s = time.time() + _sessions.c.ttl_s
    renewed = update(_sessions).where(_sessions.c.session == session).values(ends_at_s=ends_at_s)
    return connection.execute(renewed).rowcount == 1


def _end(connection: Connection, session: Session) -> None:
    row = connection.execute(select(_sessions).where(_sessions.c.session == session)).one_or_none()
    if row is None:
        return
    connection.execute(delete(_sessions).where(_sessions.c.session == session))
    held = _entries.c.session == session
    index = _next_index(connection)
    if row.ephemeral:
        connection.execute(delete(_entries).where(held))
    else:
        connection.execute(update(_entries).where(held).values(session=None, index=index))


def _acquire(connection: Connection, key: str, value: str, session: Session) -> bool | None:
    if not _lives(connection, session):
        return None
    known = _known(connection, key)
    if known is not None and known.session not in {None, session}:
        return False
    _write(connection, key, value, _next_index(connection))
    connection.execute(update(_entries).where(_entries.c.key == key).values(session=session))
    return True


def _release(connection: Connection, key: str, session: Session) -> None:
    held = (_entries.c.key == key) & (_entries.c.session == session)
    released = update(_entries).where(held).values(session=None, index=_next_index(connection))
    connection.execute(released)
