"""Opens an agent's database: SQLite in WAL mode or PostgreSQL, brought to the newest schema."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from horde_agents.store.writer import Writer, writing

_MIGRATIONS = Path(__file__).parent / "migrations"
#: Any number; the same one makes two starting agents take turns at the schema.
_SCHEMA_LOCK = 7_201_218


class StoreUnusable(Exception):
    """The database cannot be opened or is of another version; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Store:
    """An open database: ``writer`` stores, ``reading`` reads."""

    engine: AsyncEngine
    writer: Writer

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reads; what it sees is committed."""
        async with self.engine.connect() as connection:
            yield connection


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """Open ``sqlite:///path`` or ``postgresql://…``, migrate it, and close it with the block.

    Raises:
        StoreUnusable: unreachable, not a database, or written by a newer version.
    """
    engine = _engine(url)
    try:
        await _migrate(engine)
        async with writing(engine) as writer:
            yield Store(engine, writer)
    finally:
        await engine.dispose()


def _engine(url: str) -> AsyncEngine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            path = Path(parsed.database)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        engine = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"))
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin)
        return engine
    if parsed.get_backend_name() == "postgresql":
        return create_async_engine(parsed.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
    raise StoreUnusable(
        f"Database URL starts with {parsed.drivername!r}; use sqlite:///path or postgresql://…"
    )


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  (the driver's own type)
    connection.isolation_level = None  # transactions are begun by us, savepoints included
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


async def _migrate(engine: AsyncEngine) -> None:
    try:
        async with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
            await connection.run_sync(_upgrade)
    except (DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StoreUnusable(f"Database {engine.url!r} cannot be opened: {cause}") from error


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise StoreUnusable(
            f"The database is at schema {current}, which this version does not know: "
            "run the newer version of horde again, or restore a backup of before the upgrade."
        )
    command.upgrade(config, "head")
