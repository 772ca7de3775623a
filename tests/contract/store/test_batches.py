"""Batches that are deleted, and all that hangs on them, on both databases."""

from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store import attempts, batches, prompt_sets
from horde_agents.store.attempts import StoredAttempt
from horde_agents.store.batches import Batch, BatchJob, BatchState, Purpose
from horde_agents.store.engine import Store
from horde_agents.store.tables import attempts as attempt_rows
from horde_agents.store.tables import batch_jobs, excuse_uses, job_events
from horde_agents.store.tables import batches as batch_rows
from horde_agents.store.tables import prompt_sets as prompt_rows

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
TABLES = (batch_rows, batch_jobs, attempt_rows, job_events, excuse_uses, prompt_rows)


async def _count(store: Store, table: Table) -> int:
    async with store.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


def _batch(uuid: str, ended_at: datetime | None) -> Batch:
    state = BatchState.ENDED if ended_at else BatchState.PLANNED
    return Batch(uuid, 7, Purpose.BATCH, 9, NOON, state, ended_at, ended_at)


async def _fill(connection: AsyncConnection, uuid: str, jobs: int) -> None:
    """A batch's jobs, each with an attempt of one event, a prompt set and an excuse."""
    names = [f"{uuid}-{number}" for number in range(jobs)]
    await batches.add_jobs(connection, [BatchJob(name, uuid, "digest", "miner", "c", {}) for name in names])
    for name in names:
        await attempts.add(connection, StoredAttempt(name, uuid, "miner", "validator", "c", "", NOON, NOON))
        event = {"subject_uuid": name, "sequence": 1, "kind": "accepted", "payload_json": "{}", "at": NOON}
        await connection.execute(insert(job_events).values(**event))
    await prompt_sets.add(connection, f"{uuid}-set", uuid, [], NOON)
    await batches.use_excuse(connection, uuid, "job", "miner")


async def test_a_batch_goes_in_parts_and_its_neighbour_stays(store: Store) -> None:
    async def fill(connection: AsyncConnection) -> None:
        await batches.plan(connection, [_batch("gone", NOON), _batch("stays", NOON)])
        await _fill(connection, "gone", 3)
        await _fill(connection, "stays", 1)

    await store.writer.run(fill)
    deleted = [
        await store.writer.run(lambda connection: batches.evict_jobs(connection, "gone", 2)) for _ in range(3)
    ]
    assert deleted == [2, 1, 0]
    await store.writer.run(lambda connection: batches.evict(connection, "gone"))
    assert [await _count(store, table) for table in TABLES] == [1] * len(TABLES)
    async with store.reading() as connection:
        assert [batch.uuid for batch in await batches.of_cycle(connection, 7)] == ["stays"]


async def test_only_batches_that_were_over_before_are_old_the_oldest_first(store: Store) -> None:
    ends = {"a": NOON - timedelta(hours=2), "b": NOON - timedelta(hours=1), "c": NOON, "d": None}
    planned = [_batch(uuid, ended_at) for uuid, ended_at in ends.items()]
    await store.writer.run(lambda connection: batches.plan(connection, planned))
    async with store.reading() as connection:
        assert [batch.uuid for batch in await batches.over_before(connection, NOON, 9)] == ["a", "b"]
        assert [batch.uuid for batch in await batches.over_before(connection, NOON, 1)] == ["a"]


async def test_a_receipt_excuses_once_in_a_batch_and_again_in_another(store: Store) -> None:
    uses = [("one", "job"), ("one", "job"), ("one", "another"), ("two", "job")]
    taken = [
        await store.writer.run(partial(batches.use_excuse, batch_uuid=batch, job_uuid=job, miner_hotkey="m"))
        for batch, job in uses
    ]
    assert taken == [True, False, True, True]


async def test_a_prompt_set_is_used_once(store: Store) -> None:
    await store.writer.run(lambda connection: prompt_sets.add(connection, "set", "one", [], NOON))
    use = partial(prompt_sets.use, uuid="set", answers={"1": "yes"})
    assert [await store.writer.run(use) for _ in range(2)] == [True, False]
    assert await store.writer.run(partial(prompt_sets.use, uuid="none", answers={})) is False
