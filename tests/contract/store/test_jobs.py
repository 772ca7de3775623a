"""Jobs: stored once per signed request, moved only by events, listed for their owner alone."""

from datetime import datetime, timedelta, timezone
from functools import partial

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.jobs.events import Accepted, Finished, HordeFailed, JobEvent, Received
from horde_agents.jobs.lifecycle import Ignored, NotAuthorised
from horde_agents.jobs.states import JobState, Role
from horde_agents.store import jobs, stories
from horde_agents.store.engine import Store
from horde_agents.store.jobs import Recorded, StoredJob
from tests.contract.store.rows import AT, job

_RECEIVED = Received(Role.VALIDATOR)
_ACCEPTED = Accepted(Role.MINER)
_FINISHED = Finished(Role.EXECUTOR, stdout="ü\n", artifacts={"/a": "YQ=="})


async def _add(store: Store, *rows: StoredJob) -> list[StoredJob]:
    return [await store.writer.run(partial(jobs.add, job=row)) for row in rows]


async def _record(store: Store, uuid: str, *events: JobEvent) -> list[Recorded | Ignored]:
    async def unit(connection: AsyncConnection) -> list[Recorded | Ignored]:
        return [await jobs.record(connection, uuid, event, AT) for event in events]

    return await store.writer.run(unit)


async def test_a_job_comes_back_as_it_was_stored(store: Store) -> None:
    elsewhere = timezone(timedelta(hours=9))
    wanted = job(created_at=AT.astimezone(elsewhere))
    await _add(store, wanted)
    async with store.reading() as connection:
        found = await jobs.load(connection, wanted.uuid)
    assert found == wanted
    assert found is not None
    assert found.created_at.utcoffset() == timedelta(0)


async def test_an_instant_without_zone_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="has no time zone"):
        await _add(store, job(created_at=datetime(2026, 1, 2)))  # noqa: DTZ001  (that is the point)


async def test_the_same_signed_request_returns_the_job_already_made(store: Store) -> None:
    first = job()
    again = job(uuid="another uuid", request_json="{}", signed_sha256="1" * 64)
    assert await _add(store, first, again) == [first, first]


async def test_a_retry_in_the_same_group_makes_no_second_job(store: Store) -> None:
    rows = [job(uuid=f"uuid-{number}") for number in range(5)]
    waiting = [store.writer.queue(partial(jobs.add, job=row)) for row in rows]
    assert {(await made).uuid for made in waiting} == {"uuid-0"}


async def test_a_known_uuid_under_another_signature_returns_the_job_already_made(store: Store) -> None:
    first = job()
    assert await _add(store, first, job(2, uuid=first.uuid)) == [first, first]


async def test_where_uuid_and_signature_name_two_jobs_the_signature_counts(store: Store) -> None:
    one, two = await _add(store, job(1), job(2))
    assert await _add(store, job(1, uuid=two.uuid)) == [one]


async def test_each_event_moves_the_job_and_joins_its_story(store: Store) -> None:
    await _add(store, job())
    await _record(store, "job-1", _RECEIVED, _ACCEPTED, _FINISHED)
    async with store.reading() as connection:
        found = await jobs.load(connection, "job-1")
        told = await stories.told(connection, "job-1")
        later = await stories.told(connection, "job-1", after=2)
    assert found is not None
    assert found.state is JobState.COMPLETED
    assert [item.event for item in told] == [_RECEIVED, _ACCEPTED, _FINISHED]
    assert [item.sequence for item in told] == [1, 2, 3]
    assert {item.at for item in told} == {AT}
    assert later == told[2:]


async def test_duplicates_and_latecomers_leave_no_trace(store: Store) -> None:
    await _add(store, job())
    steps = await _record(
        store, "job-1", _RECEIVED, _RECEIVED, _FINISHED, HordeFailed(Role.VALIDATOR), _ACCEPTED
    )
    assert [isinstance(step, Ignored) for step in steps] == [False, True, False, True, True]
    async with store.reading() as connection:
        assert len(await stories.told(connection, "job-1")) == 2


async def test_who_may_not_report_an_event_changes_nothing(store: Store) -> None:
    await _add(store, job())
    with pytest.raises(NotAuthorised):
        await _record(store, "job-1", Finished(Role.FACILITATOR))
    with pytest.raises(LookupError, match="job nobody is not in this database"):
        await _record(store, "nobody", _RECEIVED)
    async with store.reading() as connection:
        assert await stories.told(connection, "job-1") == []


async def test_an_owner_sees_pages_of_the_own_jobs_newest_first(store: Store) -> None:
    await _add(store, *(job(number, tag="odd" if number % 2 else "") for number in range(7)))
    await _add(store, job(8, owner_hotkey="somebody else"))
    async with store.reading() as connection:
        count, first = await jobs.page(connection, "owner", offset=0, limit=3)
        _, last = await jobs.page(connection, "owner", offset=6, limit=3)
        odd, tagged = await jobs.page(connection, "owner", offset=0, limit=9, tag="odd")
        named, _ = await jobs.page(connection, "owner", offset=0, limit=9, uuids=["job-2", "job-8"])
    assert count == 7
    assert [row.uuid for row in first] == ["job-6", "job-5", "job-4"]
    assert [row.uuid for row in last] == ["job-0"]
    assert (odd, [row.uuid for row in tagged]) == (3, ["job-5", "job-3", "job-1"])
    assert named == 1


async def test_only_jobs_without_a_final_state_are_unfinished_or_overdue(store: Store) -> None:
    await _add(store, job(1), job(2), job(3), job(4, validator_hotkey="another"))
    await _record(store, "job-1", _RECEIVED, _FINISHED)
    async with store.reading() as connection:
        assert [row.uuid for row in await jobs.unfinished(connection)] == ["job-2", "job-3", "job-4"]
        assert [row.uuid for row in await jobs.unfinished(connection, "another")] == ["job-4"]
        assert await jobs.overdue(connection, AT + timedelta(minutes=2.5)) == ["job-2"]
        assert await jobs.open_count(connection, "validator") == 2
