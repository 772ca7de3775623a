"""Opens an agent's database: SQLite in WAL mode or PostgreSQL, brought to the newest schema."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from horde_agents.store import sqlite_driver
from horde_agents.store.postgres import UrlRefused, postgres_engine
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
    reader, writes = _engines(url)
    try:
        await _migrate(writes)
        async with writing(writes) as writer:
            yield Store(reader, writer)
    finally:
        await writes.dispose()
        await reader.dispose()


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that a database has, if any, and the newest that this version knows."""

    found: str | None
    newest: str | None


async def schema_of(url: str) -> Schema:
    """Look at a database without changing it.

    Raises:
        StoreUnusable: unreachable, not a database, or written by a newer version.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite" and not _is_there(parsed):
        return Schema(None, _script().get_current_head())
    reader, writes = _engines(url)
    try:
        async with reader.connect() as connection:
            return await connection.run_sync(_schema)
    except (DBAPIError, OSError) as error:
        raise _cannot_be_opened(reader, error) from error
    finally:
        await writes.dispose()
        await reader.dispose()


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise StoreUnusable(
            "The database URL cannot be read; use sqlite:///path or postgresql://…"
        ) from error


def _engines(url: str) -> tuple[AsyncEngine, AsyncEngine]:
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engines(parsed)
    if parsed.get_backend_name() == "postgresql":
        try:
            engine = postgres_engine(parsed)
        except UrlRefused as refused:
            raise StoreUnusable(str(refused)) from refused
        return engine, engine
    raise StoreUnusable(
        f"Database URL starts with {parsed.drivername!r}; use sqlite:///path or postgresql://…"
    )


def _sqlite_engines(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    """One engine for reads and one for the writer, which takes the write lock as it begins.

    A transaction that reads first and writes later is refused, not queued, when another process
    wrote in between.
    """
    path = str(_sqlite_file(url))
    driver = url.set(drivername="sqlite+aiosqlite")
    reader = create_async_engine(driver, async_creator=lambda: sqlite_driver.connect_reader(path))
    writes = create_async_engine(
        driver, async_creator=lambda: sqlite_driver.connect_writer(path), pool_size=1, max_overflow=0
    )
    for engine, begin in ((reader, "BEGIN"), (writes, "BEGIN IMMEDIATE")):
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", partial(_begin, begin))
    return reader, writes


def _is_there(url: URL) -> bool:
    return url.database is not None and Path(url.database).is_file()


def _sqlite_file(url: URL) -> Path:
    if not url.database or url.database == ":memory:":
        raise StoreUnusable("Database URL names no file; use sqlite:///path: what is stored must last.")
    path = Path(url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        why = f"Database file {path} cannot be made: {error.strerror}. Name another."
        raise StoreUnusable(why) from error
    return path


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  (the driver's own type)
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(statement: str, connection: Connection) -> None:
    connection.exec_driver_sql(statement)


async def _migrate(engine: AsyncEngine) -> None:
    try:
        async with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
            await connection.run_sync(_upgrade)
    except (DBAPIError, OSError) as error:
        raise _cannot_be_opened(engine, error) from error


def _cannot_be_opened(engine: AsyncEngine, error: DBAPIError | OSError) -> StoreUnusable:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return StoreUnusable(f"Database {engine.url!r} cannot be opened: {cause}")


def _upgrade(connection: Connection) -> None:
    schema = _schema(connection)
    if schema.found != schema.newest:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _schema(connection: Connection) -> Schema:
    script = _script()
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in {revision.revision for revision in script.walk_revisions()}:
        raise StoreUnusable(
            f"The database is at schema {found}, which this version does not know: "
            "run the newer version of horde again, or restore a backup of before the upgrade."
        )
    return Schema(found, script.get_current_head())


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
