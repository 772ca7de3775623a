"""SQLite under the store: long work stays out of the event loop, and nobody gets another's rows."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store import facts, tables
from horde_agents.store.engine import Store, open_store
from horde_agents.store.sqlite_driver import connect_reader

#: Counts to a million, which takes SQLite a while, and gives as many rows.
_LONG = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT i FROM n"
)
#: Gives one row, in some minutes.
_ENDLESS = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT max(i) FROM n"
)
_MORE_THAN_COME_FIRST = 1_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite3"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{file}") as opened:
        yield opened


async def _turns_until(done: "asyncio.Future[None]") -> int:
    """How often the event loop came round meanwhile."""
    turns = 0
    while not done.done():
        turns += 1
        await asyncio.sleep(0.01)
    return turns


async def test_a_write_waits_for_another_process_and_the_loop_does_not(store: Store, file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = store.writer.queue(lambda connection: facts.put(connection, "late", ""))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    other.execute("COMMIT")
    await waiting
    async with store.reading() as connection:
        assert (await connection.execute(select(tables.facts.c.name))).scalars().all() == ["late"]
    other.close()


async def test_a_long_read_leaves_the_loop_alone(store: Store) -> None:
    async def read() -> None:
        async with store.reading() as connection:
            assert len((await connection.execute(_LONG)).all()) == 1_000_000

    assert await _turns_until(asyncio.create_task(read())) > 1


async def test_many_rows_are_written_while_the_loop_goes_on(store: Store) -> None:
    rows = [{"name": f"{number}", "value": ""} for number in range(10_000)]

    async def write(connection: AsyncConnection) -> bool:
        turned = asyncio.Event()
        asyncio.get_running_loop().call_soon(turned.set)
        await connection.execute(insert(tables.facts), rows)
        return turned.is_set()

    assert await store.writer.run(write)


async def test_all_rows_come_in_order_whether_at_once_or_in_parts(store: Store) -> None:
    limited = text(f"{_LONG.text} LIMIT {_MORE_THAN_COME_FIRST}")
    wanted = list(range(1, _MORE_THAN_COME_FIRST + 1))
    async with store.reading() as connection:
        assert [row.i for row in await connection.execute(limited)] == wanted
        parts = (await connection.stream(limited)).partitions(300)
        assert [row.i async for part in parts for row in part] == wanted
        one_by_one = await connection.stream(limited)
        assert [row.i async for row in one_by_one] == wanted


async def test_a_read_that_is_called_off_disturbs_no_later_one(store: Store) -> None:
    async def read() -> None:
        async with store.reading() as connection:
            await connection.execute(_LONG)

    for _ in range(5):
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.02)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await store.writer.run(lambda connection: facts.put(connection, "known", ""))
        async with store.reading() as connection:
            assert (await connection.execute(select(tables.facts.c.name))).scalars().all() == ["known"]


async def test_a_read_that_is_called_off_ends_at_once(store: Store) -> None:
    async def read() -> None:
        async with store.reading() as connection:
            await connection.execute(_ENDLESS)

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    reading.cancel()
    await asyncio.wait([reading], timeout=5)
    assert reading.cancelled()


async def test_nothing_runs_in_place_while_the_thread_may_have_something_to_do(file: Path) -> None:
    connection = await connect_reader(str(file))
    for statement in (_ENDLESS.text, "SELECT 1"):  # the second never begins, and the first still runs then
        asking = asyncio.create_task(connection.cursor().execute(statement))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait([asking])
    assert not connection.can_run_in_place("BEGIN")
    await asyncio.wait_for(connection.close(), 5)


async def test_closing_twice_is_closing_once(file: Path) -> None:
    connection = await connect_reader(str(file))
    await connection.close()
    connection.stop()  # as SQLAlchemy does when what waits for the end of closing is called off
    await connection.close()


async def test_what_is_read_in_one_transaction_is_of_one_instant(store: Store) -> None:
    query = select(tables.facts.c.name)
    async with store.reading() as connection:
        assert (await connection.execute(query)).scalars().all() == []
        await store.writer.run(lambda writes: facts.put(writes, "new", ""))
        assert (await connection.execute(query)).scalars().all() == []
    async with store.reading() as connection:
        assert (await connection.execute(query)).scalars().all() == ["new"]
