"""Attempts move by events as jobs do; a slot has one open lease."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError

from horde_agents.jobs.events import Accepted, Finished, HordeFailed, JobEvent
from horde_agents.jobs.lifecycle import Ignored
from horde_agents.jobs.states import JobState, Role
from horde_agents.store import attempts, stories
from horde_agents.store.attempts import StoredAttempt
from horde_agents.store.engine import Store
from tests.contract.store.rows import AT, attempt

_LOST = HordeFailed(Role.MINER)


async def _add(store: Store, *rows: StoredAttempt) -> None:
    for row in rows:
        await store.writer.run(partial(attempts.add, attempt=row))


async def _record(store: Store, uuid: str, event: JobEvent) -> object:
    return await store.writer.run(lambda c: attempts.record(c, uuid, event, AT))


async def test_an_attempt_comes_back_as_it_was_stored(store: Store) -> None:
    await _add(store, attempt(1), attempt(2, job_uuid="job-2"), attempt(3))
    async with store.reading() as connection:
        assert await attempts.load(connection, "attempt-1") == attempt(1)
        assert await attempts.load(connection, "nobody") is None
        assert await attempts.of_job(connection, "job-1") == [attempt(1), attempt(3)]


async def test_an_attempt_that_ended_stays_ended_and_is_no_longer_unfinished(store: Store) -> None:
    await _add(store, attempt(1), attempt(2))
    await _record(store, "attempt-1", Accepted(Role.MINER))
    await _record(store, "attempt-1", _LOST)
    assert isinstance(await _record(store, "attempt-1", Finished(Role.EXECUTOR)), Ignored)
    async with store.reading() as connection:
        found = await attempts.load(connection, "attempt-1")
        assert found is not None
        assert found.state is JobState.HORDE_FAILED
        assert [row.uuid for row in await attempts.unfinished(connection)] == ["attempt-2"]
        assert [told.event for told in await stories.told(connection, "attempt-1")][-1] == _LOST


async def test_faults_count_for_their_miner_and_for_a_while(store: Store) -> None:
    await _add(
        store,
        attempt(1),
        attempt(2),
        attempt(3, miner_hotkey="another"),
        attempt(4, created_at=AT - timedelta(days=2)),
    )
    for number in (1, 3, 4):
        await _record(store, f"attempt-{number}", _LOST)
    async with store.reading() as connection:
        assert await attempts.faults(connection, "miner", AT - timedelta(days=1)) == [_LOST]


async def test_a_slot_has_one_open_lease(store: Store) -> None:
    await store.writer.run(lambda c: attempts.lease(c, "attempt-1", "slot", AT))
    with pytest.raises(IntegrityError):
        await store.writer.run(lambda c: attempts.lease(c, "attempt-2", "slot", AT))
    await store.writer.run(lambda c: attempts.lease(c, "attempt-3", "another slot", AT))


async def test_an_ended_lease_frees_its_slot_and_may_be_ended_again(store: Store) -> None:
    await store.writer.run(lambda c: attempts.lease(c, "attempt-1", "slot", AT))
    for _ in range(2):
        await store.writer.run(lambda c: attempts.end_lease(c, "attempt-1", AT))
    await store.writer.run(lambda c: attempts.lease(c, "attempt-2", "slot", AT))
    await store.writer.run(lambda c: attempts.end_lease(c, "attempt-1", AT))
    with pytest.raises(IntegrityError):
        await store.writer.run(lambda c: attempts.lease(c, "attempt-3", "slot", AT))
