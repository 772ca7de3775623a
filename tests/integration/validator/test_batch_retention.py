"""What is kept of batches, in the store and in the buckets, and for how long."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.prompts.kind import PromptsKind
from horde_agents.agents.validator.synthetic.kinds import (
    Finding,
    JobReport,
    KindNotReady,
    Needs,
    SyntheticKind,
    Task,
)
from horde_agents.agents.validator.synthetic.retention import BatchRetention
from horde_agents.agents.validator.synthetic.runner import new_batch_uuid
from horde_agents.clients.objects import S3Objects
from horde_agents.runtime.clock import now
from horde_agents.store import batches, prompt_sets
from horde_agents.store.batches import Batch, BatchState, Purpose
from horde_agents.store.tables import attempts, batch_jobs, excuse_uses, job_events, verdicts
from horde_agents.store.tables import batches as batch_rows
from horde_agents.store.tables import prompt_sets as prompt_rows
from horde_agents.testing.object_server import ObjectServer
from tests.fixtures.batches import CLASS, SYNTHETIC, MovedChain, solve, working
from tests.fixtures.prompts import Runner, parts_of, upload
from tests.fixtures.validator import Stage

KEEP_S = 1000.0
BUCKETS = {"prompts_bucket": "kept-prompts", "answers_bucket": "kept-answers"}


class _Unclean:
    """A kind that cannot clean as long as it is told so."""

    name = "unclean"
    is_away = True

    def needs(self, executor_classes: Collection[str]) -> Needs:
        return Needs()

    async def prepare(
        self, executor_classes: Mapping[str, int], batch_uuid: str
    ) -> Mapping[str, Sequence[Task]]:
        return {}

    async def judge(self, task: Task, report: JobReport) -> Finding:
        raise AssertionError("it has no jobs")

    async def clean(self, batch_uuid: str) -> None:
        if self.is_away:
            raise KindNotReady("the store is away")


async def count(parts: Parts, table: Table) -> int:
    async with parts.store.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def ended(parts: Parts, at: datetime, state: BatchState = BatchState.NOT_RUN) -> str:
    batch = Batch(new_batch_uuid(), 1, Purpose.BATCH, 13, at, state, at, at)
    await parts.store.writer.run(lambda connection: batches.plan(connection, [batch]))
    return batch.uuid


def retention(parts: Parts, kinds: Collection[SyntheticKind] = (), proven: int = 0) -> BatchRetention:
    return BatchRetention(parts.store, kinds, lambda: proven, KEEP_S, 5.0)


async def names(objects: S3Objects) -> list[str]:
    """All that lies in both buckets."""
    found: list[str] = []
    for bucket in BUCKETS.values():
        await objects.ensure_bucket(bucket)
        found += await objects.list(bucket, "", 100)
    return found


async def test_a_batch_goes_with_all_its_rows_and_leaves_its_verdicts(stage: Stage) -> None:
    miner = await stage.miner(script=solve, manifest={CLASS: 3})
    parts = (await stage.start(miner, **SYNTHETIC)).parts
    async with working(parts) as work:
        [batch] = await work.until_over()
    at = now()

    async def more(connection: AsyncConnection) -> None:
        await batches.use_excuse(connection, batch.uuid, "job", miner.hotkey)
        await prompt_sets.add(connection, "set", batch.uuid, [], at)

    await parts.store.writer.run(more)
    tables = [batch_rows, batch_jobs, attempts, job_events, excuse_uses, prompt_rows]
    before = [await count(parts, table) for table in tables]
    assert all(before)
    assert await retention(parts).evict(at) == 0
    assert [await count(parts, table) for table in tables] == before
    assert await retention(parts).evict(at + timedelta(seconds=KEEP_S + 1)) == 1
    assert [await count(parts, table) for table in tables] == [0] * len(tables)
    assert await count(parts, verdicts) == 3


async def test_unfinished_batches_and_those_that_bound_excuses_stay(stage: Stage) -> None:
    parts, at = (await stage.start()).parts, now() - timedelta(seconds=10 * KEEP_S)
    old = [await ended(parts, at, BatchState.ENDED) for _ in range(3)]
    waiting = Batch(new_batch_uuid(), 1, Purpose.BATCH, 13, at)
    await parts.store.writer.run(lambda connection: batches.plan(connection, [waiting]))
    assert await retention(parts, proven=2).evict(now()) == 1
    async with parts.store.reading() as connection:
        assert {batch.uuid for batch in await batches.of_cycle(connection, 1)} == {*old[1:], waiting.uuid}


async def test_a_batch_that_cannot_be_cleaned_stays_as_long_again(stage: Stage) -> None:
    parts, at, kind = (await stage.start()).parts, now(), _Unclean()
    evict = retention(parts, [kind]).evict
    await ended(parts, at)
    assert await evict(at + timedelta(seconds=1.5 * KEEP_S)) == 0
    assert await evict(at + timedelta(seconds=2.5 * KEEP_S)) == 1
    await ended(parts, at)
    kind.is_away = False
    assert await evict(at + timedelta(seconds=1.5 * KEEP_S)) == 1


async def test_uploads_after_a_batch_was_cleaned_go_with_its_rows(
    stage: Stage, object_server: ObjectServer, tmp_path: Path, objects: S3Objects
) -> None:
    parts = await parts_of(stage, object_server, tmp_path, **BUCKETS)
    parts.run_trusted = Runner().run
    kind, uuid, at = PromptsKind(parts), await ended(parts, now()), now()
    [task] = (await kind.prepare({CLASS: 1}, uuid))[CLASS]
    await kind.clean(uuid)
    assert await names(objects) == []
    await upload(task.request["uploads"][0]["url"], b"late")
    assert await names(objects)
    assert await retention(parts, [kind]).evict(at + timedelta(seconds=KEEP_S + 1)) == 1
    assert await names(objects) == []
    assert await count(parts, prompt_rows) == 0


@pytest.mark.parametrize("state", [BatchState.PLANNED, BatchState.FIRED], ids=lambda state: str(state))
async def test_a_prepared_batch_whose_instant_passed_while_the_validator_was_away_is_cleaned(
    stage: Stage, object_server: ObjectServer, tmp_path: Path, objects: S3Objects, state: BatchState
) -> None:
    parts = await parts_of(stage, object_server, tmp_path, **BUCKETS, **SYNTHETIC)
    parts.run_trusted = Runner().run
    kind = PromptsKind(parts)
    batch = Batch(new_batch_uuid(), 1, Purpose.BATCH, 13, now(), state)
    await parts.store.writer.run(lambda connection: batches.plan(connection, [batch]))
    await kind.prepare({CLASS: 1}, batch.uuid)
    assert await names(objects)
    later = MovedChain({parts.signer.hotkey: 10**12}, number=27)
    async with working(parts, later, kinds={CLASS: kind}) as work:
        [over, *_] = await work.until_over()
        assert (over.uuid, over.state) == (batch.uuid, BatchState.NOT_RUN)
        assert over.details["why"]
        while await names(objects):
            await work.move()
