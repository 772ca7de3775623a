"""The writer groups what waits, answers only after the commit, and never says yes to what is not stored."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store import facts, tables
from horde_agents.store.engine import Store, open_store
from horde_agents.store.writer import StoreStopped, TransactionLost

Put = Callable[[AsyncConnection], Awaitable[None]]


def _put(name: str, value: str = "") -> Put:
    return lambda connection: facts.put(connection, name, value)


async def _names(store: Store) -> set[str]:
    async with store.reading() as connection:
        return set((await connection.execute(select(tables.facts.c.name))).scalars())


async def _fail(_connection: AsyncConnection) -> None:
    raise LookupError("this unit fails")


async def test_what_is_answered_is_visible_to_other_connections(store: Store) -> None:
    for number in range(5):
        await store.writer.run(_put(f"{number}"))
        assert f"{number}" in await _names(store)


async def test_nothing_is_answered_before_the_whole_group_is_committed(store: Store) -> None:
    seen_by_last: list[int] = []
    answers: list[asyncio.Future[None]] = []

    async def last(_connection: AsyncConnection) -> None:
        seen_by_last.append(sum(answer.done() for answer in answers))
        seen_by_last.append(len(await _names(store)))

    answers += [store.writer.queue(_put(f"{number}")) for number in range(10)]
    await store.writer.run(last)
    assert seen_by_last == [0, 0]
    assert all(answer.done() for answer in answers)


async def test_a_unit_that_fails_fails_alone(store: Store) -> None:
    before = [store.writer.queue(_put(f"before {number}")) for number in range(3)]
    failing = store.writer.queue(_fail)
    after = [store.writer.queue(_put(f"after {number}")) for number in range(3)]
    with pytest.raises(LookupError, match="this unit fails"):
        await failing
    for answer in before + after:
        await answer
    assert len(await _names(store)) == 6


async def test_what_a_failing_unit_wrote_is_undone(store: Store) -> None:
    async def half(connection: AsyncConnection) -> None:
        await facts.put(connection, "half", "")
        raise LookupError("after writing")

    for others in (0, 3):
        answers = [store.writer.queue(_put(f"other {number}")) for number in range(others)]
        with pytest.raises(LookupError):
            await store.writer.run(half)
        for answer in answers:
            await answer
        assert "half" not in await _names(store)


async def test_a_broken_rule_of_the_database_fails_one_unit(store: Store) -> None:
    async def twice(connection: AsyncConnection) -> None:
        for _ in range(2):
            await connection.execute(text("INSERT INTO facts (name, value) VALUES ('twice', '')"))

    fine, broken = store.writer.queue(_put("fine")), store.writer.queue(twice)
    with pytest.raises(IntegrityError):
        await broken
    await fine
    assert await _names(store) == {"fine"}


async def test_a_transaction_that_sqlite_undid_is_answered_by_an_error(tmp_path: Path) -> None:
    async def undo_all(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT OR ROLLBACK INTO facts (name, value) VALUES ('known', '')"))

    async def undo_all_and_say_nothing(connection: AsyncConnection) -> None:
        with pytest.raises(IntegrityError):
            await undo_all(connection)

    async with open_store(f"sqlite:///{tmp_path}/store.sqlite3") as store:
        await store.writer.run(_put("known"))
        for undoing in (undo_all, undo_all_and_say_nothing):
            others = [store.writer.queue(_put("before")), store.writer.queue(undoing)]
            others.append(store.writer.queue(_put("after")))
            for answer in others:
                with pytest.raises(TransactionLost):
                    await answer
            assert await _names(store) == {"known"}
        await store.writer.run(_put("goes on"))
        assert await _names(store) == {"known", "goes on"}


async def test_units_are_stored_in_the_order_they_came(store: Store) -> None:
    answers = [store.writer.queue(_put("last one wins", f"{number}")) for number in range(300)]
    await answers[-1]
    async with store.reading() as connection:
        assert await facts.get(connection, "last one wins") == "299"


async def test_more_callers_than_the_queue_holds_wait_their_turn(store: Store) -> None:
    count = 0

    async def call() -> None:
        nonlocal count
        await store.writer.run(_nothing)
        count += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(5000):
            group.create_task(call())
    assert count == 5000


async def _nothing(_connection: AsyncConnection) -> None:
    """A unit that only waits for its turn."""


@pytest.mark.parametrize("ends_by", [None, RuntimeError, asyncio.CancelledError])
async def test_what_waits_when_the_store_closes_is_stored(
    store_url: str, ends_by: type[BaseException] | None
) -> None:
    try:
        async with open_store(store_url) as store:
            for number in range(200):
                store.writer.behind(_put(f"{number}"))
            if ends_by is not None:
                raise ends_by
    except* RuntimeError:
        pass
    except* asyncio.CancelledError:
        pass
    async with open_store(store_url) as store:
        assert len(await _names(store)) == 200


async def test_a_closed_store_refuses_writes(store_url: str) -> None:
    async with open_store(store_url) as store:
        pass
    with pytest.raises(StoreStopped):
        await store.writer.run(_put("late"))


async def test_two_writers_of_one_database_do_not_refuse_each_other(store_url: str) -> None:
    async def count_up(store: Store) -> None:
        for _ in range(40):
            await store.writer.run(_read_then_write)

    async with open_store(store_url) as one, open_store(store_url) as other:
        async with asyncio.TaskGroup() as group:
            group.create_task(count_up(one))
            group.create_task(count_up(other))
        assert len(await _names(one)) == 80


async def _read_then_write(connection: AsyncConnection) -> None:
    """What most units do; SQLite refuses it unless the transaction began with the write lock."""
    await facts.get(connection, "any")
    await asyncio.sleep(0)
    await facts.put(connection, f"{id(connection)} {asyncio.get_running_loop().time()}", "")


async def test_a_caller_that_went_away_disturbs_nobody(store: Store) -> None:
    gone = store.writer.queue(_put("gone"))
    stays = store.writer.queue(_put("stays"))
    gone.cancel()
    await stays
    assert "stays" in await _names(store)


@pytest.mark.postgres
async def test_a_connection_that_the_server_cut_is_made_anew(postgres_url: str) -> None:
    cut_others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    async with open_store(postgres_url) as store:
        await store.writer.run(_put("before"))
        async with store.reading() as connection:
            await connection.execute(cut_others)
        await store.writer.run(_put("after"))
        await store.writer.run(lambda connection: connection.execute(cut_others))
        assert await _names(store) == {"before", "after"}


async def test_a_full_disk_fails_the_write_that_it_stops_and_no_later_one(tmp_path: Path) -> None:
    async def fill(connection: AsyncConnection) -> None:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        await facts.put(connection, "large", "x" * 1_000_000)

    async with open_store(f"sqlite:///{tmp_path}/store.sqlite3") as store:
        await store.writer.run(_put("before"))
        with pytest.raises(Exception, match="database or disk is full"):
            await store.writer.run(fill)
        await store.writer.run(lambda connection: connection.execute(text("PRAGMA max_page_count = 100000")))
        await store.writer.run(_put("after"))
        assert await _names(store) == {"before", "after"}
