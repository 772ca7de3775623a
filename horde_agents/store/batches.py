"""Synthetic batches and their jobs, and the counts that each batch measured at its instant."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import attempts, batch_jobs, batches, excuse_uses, job_events, prompt_sets


class Purpose(StrEnum):
    """Why a batch is sent."""

    BATCH = "batch"  # all miners, in the validator's seat; measures their counts
    CHALLENGE = "challenge"  # one executor, unannounced


class BatchState(StrEnum):
    """How far a batch has come."""

    PLANNED = "planned"
    FIRED = "fired"
    ENDED = "ended"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch; ``fire_block`` is a secret until it has fired."""

    uuid: str
    cycle: int
    purpose: Purpose
    fire_block: int
    planned_at: datetime
    state: BatchState = BatchState.PLANNED
    fired_at: datetime | None = None
    ended_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One synthetic job; ``task`` has what is expected, and leaves this table only to be judged."""

    attempt_uuid: str
    batch_uuid: str
    kind: str
    miner_hotkey: str
    executor_class: str
    task: Mapping[str, Any] = field(repr=False)
    outcome: str = ""
    why: str = ""
    took_us: int = 0


_JUDGE = (
    update(batch_jobs)
    .where(batch_jobs.c.attempt_uuid == bindparam("wanted"))
    .values(outcome=bindparam("new_outcome"), why=bindparam("new_why"), took_us=bindparam("new_took_us"))
)


async def plan(connection: AsyncConnection, planned: Sequence[Batch]) -> None:
    """Store batches that are to come."""
    if planned:
        await connection.execute(insert(batches), [_columns(batch) for batch in planned])


async def move(connection: AsyncConnection, batch: Batch) -> None:
    """Write what has become of a batch."""
    values = _columns(batch)
    del values["uuid"]
    await connection.execute(update(batches).where(batches.c.uuid == batch.uuid).values(**values))


async def of_cycle(connection: AsyncConnection, cycle: int) -> list[Batch]:
    """A cycle's batches and challenges, by the block at which they fire."""
    query = select(batches).where(batches.c.cycle == cycle).order_by(batches.c.fire_block, batches.c.id)
    return [_batch(row) for row in await connection.execute(query)]


async def unfinished(connection: AsyncConnection) -> list[Batch]:
    """Batches that were planned or fired and have not ended."""
    states = [BatchState.PLANNED.value, BatchState.FIRED.value]
    query = select(batches).where(batches.c.state.in_(states)).order_by(batches.c.fire_block, batches.c.id)
    return [_batch(row) for row in await connection.execute(query)]


async def add_jobs(connection: AsyncConnection, jobs: Sequence[BatchJob]) -> None:
    """Store a batch's jobs before the first is offered."""
    rows = [
        {
            "attempt_uuid": job.attempt_uuid,
            "batch_uuid": job.batch_uuid,
            "kind": job.kind,
            "miner_hotkey": job.miner_hotkey,
            "executor_class": job.executor_class,
            "task_json": json.dumps(job.task),
            "outcome": job.outcome,
            "why": job.why,
            "took_us": job.took_us,
        }
        for job in jobs
    ]
    if rows:
        await connection.execute(insert(batch_jobs), rows)


async def judge(connection: AsyncConnection, attempt_uuid: str, outcome: str, why: str, took_us: int) -> None:
    """Write how a job of a batch ended."""
    await judge_all(connection, [(attempt_uuid, outcome, why, took_us)])


async def judge_all(connection: AsyncConnection, found: Sequence[tuple[str, str, str, int]]) -> None:
    """Write how jobs of a batch ended: attempt, outcome, why, and what it took in microseconds."""
    rows = [
        {"wanted": uuid, "new_outcome": outcome, "new_why": why[:500], "new_took_us": took_us}
        for uuid, outcome, why, took_us in found
    ]
    if rows:
        await connection.execute(_JUDGE, rows)


async def jobs_of(connection: AsyncConnection, batch_uuid: str) -> list[BatchJob]:
    """A batch's jobs."""
    query = select(batch_jobs).where(batch_jobs.c.batch_uuid == batch_uuid)
    return [_job(row) for row in await connection.execute(query.order_by(batch_jobs.c.attempt_uuid))]


async def measured(connection: AsyncConnection, cycle: int) -> list[Batch]:
    """The cycle's batches that measured whole miners and are over; ``details`` has what they measured."""
    found = await of_cycle(connection, cycle)
    return [batch for batch in found if batch.purpose is Purpose.BATCH and batch.state is BatchState.ENDED]


async def last_measured(connection: AsyncConnection, most: int) -> list[Batch]:
    """The newest batches that measured whole miners, newest first."""
    wanted = (batches.c.purpose == Purpose.BATCH.value) & (batches.c.state == BatchState.ENDED.value)
    query = select(batches).where(wanted).order_by(batches.c.id.desc()).limit(most)
    return [_batch(row) for row in await connection.execute(query)]


async def use_excuse(connection: AsyncConnection, batch_uuid: str, job_uuid: str, miner_hotkey: str) -> bool:
    """Take a receipt as an excuse in a batch; False when it has excused a job of this batch before."""
    same = (excuse_uses.c.batch_uuid == batch_uuid) & (excuse_uses.c.job_uuid == job_uuid)
    if (await connection.execute(select(excuse_uses.c.job_uuid).where(same))).first() is not None:
        return False
    values = {"batch_uuid": batch_uuid, "job_uuid": job_uuid, "miner_hotkey": miner_hotkey}
    await connection.execute(insert(excuse_uses), values)
    return True


async def over_before(connection: AsyncConnection, before: datetime, most: int) -> list[Batch]:
    """The oldest batches that were over before then, ``most`` at most."""
    query = select(batches).where(batches.c.ended_at < before).order_by(batches.c.id).limit(most)
    return [_batch(row) for row in await connection.execute(query)]


async def evict_jobs(connection: AsyncConnection, batch_uuid: str, most: int) -> int:
    """Delete up to ``most`` of a batch's jobs with their attempts and stories; how many. Verdicts stay."""
    wanted = select(batch_jobs.c.attempt_uuid).where(batch_jobs.c.batch_uuid == batch_uuid).limit(most)
    uuids = (await connection.execute(wanted)).scalars().all()
    for column in (job_events.c.subject_uuid, attempts.c.uuid, batch_jobs.c.attempt_uuid):
        await connection.execute(delete(column.table).where(column.in_(uuids)))
    return len(uuids)


async def evict(connection: AsyncConnection, batch_uuid: str) -> None:
    """Delete a batch that has no jobs any more, with its prompts and the excuses used in it."""
    for column in (prompt_sets.c.batch_uuid, excuse_uses.c.batch_uuid, batches.c.uuid):
        await connection.execute(delete(column.table).where(column == batch_uuid))


def _columns(batch: Batch) -> dict[str, Any]:
    return {
        "uuid": batch.uuid,
        "cycle": batch.cycle,
        "purpose": batch.purpose.value,
        "state": batch.state.value,
        "fire_block": batch.fire_block,
        "details_json": json.dumps(batch.details),
        "planned_at": batch.planned_at,
        "fired_at": batch.fired_at,
        "ended_at": batch.ended_at,
    }


def _batch(row: Row[Any]) -> Batch:
    return Batch(
        row.uuid,
        row.cycle,
        Purpose(row.purpose),
        row.fire_block,
        row.planned_at,
        BatchState(row.state),
        row.fired_at,
        row.ended_at,
        json.loads(row.details_json),
    )


def _job(row: Row[Any]) -> BatchJob:
    return BatchJob(
        row.attempt_uuid,
        row.batch_uuid,
        row.kind,
        row.miner_hotkey,
        row.executor_class,
        json.loads(row.task_json),
        row.outcome,
        row.why,
        row.took_us,
    )
