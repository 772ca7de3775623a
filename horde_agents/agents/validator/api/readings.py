"""The queries of the API: read-only, bounded by a limit, in an order that rows added meanwhile keep.

Each takes up after the last row of the page before. Nothing of a batch that has not fired is ever read, nor
what was expected of a job, nor salts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Table, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import (
    batch_jobs,
    batches,
    cycle_scores,
    manifests,
    receipts,
    verdicts,
    weight_settings,
)

Rows = Sequence[Row[Any]]

_SHOWN_OF_BATCH: Final = ("uuid", "cycle", "purpose", "state", "fire_block", "fired_at", "ended_at")
_SHOWN_OF_JOB: Final = (
    "attempt_uuid",
    "kind",
    "miner_hotkey",
    "executor_class",
    "outcome",
    "why",
    "took_us",
)
_SHOWN_OF_WEIGHTS: Final = (
    "cycle",
    "netuid",
    "uids_json",
    "values_json",
    "version_key",
    "mode",
    "state",
    "why",
    "tries",
    "stored_at",
    "changed_at",
)
_HAS_FIRED: Final = batches.c.fired_at.is_not(None)


@dataclass(frozen=True, slots=True)
class ReceiptsWanted:
    """Which receipts; ``None`` leaves a question open."""

    job_uuid: str | None = None
    miner_hotkey: str | None = None
    receipt_type: str | None = None
    cycle: int | None = None


async def page_of_verdicts(
    connection: AsyncConnection, after: int, limit: int, cycle: int | None, last_cycle: int | None
) -> Rows:
    """Verdicts in the order of their chain, after row ``after``, each with the hash before it.

    The log ends before its first row of a cycle above ``last_cycle``, so that who follows it misses none.
    """
    row = verdicts.c
    wanted = (row.id > after) & _equal(row.cycle, cycle)
    if last_cycle is not None:
        hidden = verdicts.alias("hidden").c
        first_hidden = select(func.min(hidden.id)).where(hidden.cycle > last_cycle).scalar_subquery()
        wanted &= row.id < func.coalesce(first_hidden, row.id + 1)
    earlier = verdicts.alias("earlier")
    before = select(earlier.c.chain_sha256).where(earlier.c.id < row.id)
    before = before.order_by(earlier.c.id.desc()).limit(1)
    query = select(verdicts, func.coalesce(before.scalar_subquery(), "").label("previous_sha256"))
    return await _all(connection, query.where(wanted).order_by(row.id).limit(limit))


async def page_of_batches(
    connection: AsyncConnection, before: tuple[datetime, str] | None, limit: int, cycle: int | None
) -> Rows:
    """Batches that have fired, the last one first; ``before`` is instant and uuid of a page's last."""
    wanted = _HAS_FIRED & _equal(batches.c.cycle, cycle)
    if before is not None:
        at, uuid = before
        wanted &= (batches.c.fired_at < at) | ((batches.c.fired_at == at) & (batches.c.uuid < uuid))
    query = select(*_columns(batches, _SHOWN_OF_BATCH)).where(wanted)
    return await _all(
        connection, query.order_by(batches.c.fired_at.desc(), batches.c.uuid.desc()).limit(limit)
    )


async def fired_batch(connection: AsyncConnection, uuid: str) -> Row[Any] | None:
    """The batch, if it has fired."""
    query = select(*_columns(batches, _SHOWN_OF_BATCH)).where(_HAS_FIRED & (batches.c.uuid == uuid))
    return (await connection.execute(query)).one_or_none()


async def jobs_of_batch(connection: AsyncConnection, uuid: str, after: str, limit: int) -> Rows:
    """The jobs of a batch by their uuid, after ``after``."""
    wanted = (batch_jobs.c.batch_uuid == uuid) & (batch_jobs.c.attempt_uuid > after)
    query = select(*_columns(batch_jobs, _SHOWN_OF_JOB)).where(wanted)
    return await _all(connection, query.order_by(batch_jobs.c.attempt_uuid).limit(limit))


async def outcomes_of_batch(connection: AsyncConnection, uuid: str) -> dict[str, int]:
    """How many jobs of a batch came to which outcome; the empty one is still open."""
    outcome = batch_jobs.c.outcome
    query = select(outcome, func.count()).where(batch_jobs.c.batch_uuid == uuid).group_by(outcome)
    return {str(row[0]): int(row[1]) for row in await connection.execute(query.order_by(outcome))}


async def page_of_scores(
    connection: AsyncConnection, before: int | None, limit: int, last_cycle: int | None
) -> Rows:
    """Cycles that have been scored, the last one first."""
    wanted: ColumnElement[bool] = true()
    if before is not None:
        wanted &= cycle_scores.c.cycle < before
    if last_cycle is not None:
        wanted &= cycle_scores.c.cycle <= last_cycle
    query = select(cycle_scores.c.cycle, cycle_scores.c.scored_at).where(wanted)
    return await _all(connection, query.order_by(cycle_scores.c.cycle.desc()).limit(limit))


async def score_of(connection: AsyncConnection, cycle: int | None, last_cycle: int | None) -> Row[Any] | None:
    """A cycle's result, or the newest one's."""
    rows = cycle_scores.c
    wanted = _equal(rows.cycle, cycle)
    if last_cycle is not None:
        wanted &= rows.cycle <= last_cycle
    query = select(rows.cycle, rows.scored_at, rows.result_json).where(wanted)
    found = await _all(connection, query.order_by(rows.cycle.desc()).limit(1))
    return found[0] if found else None


async def page_of_weights(connection: AsyncConnection, before: int | None, limit: int) -> Rows:
    """Weights by cycle, the last one first, without salts."""
    wanted: ColumnElement[bool] = true()
    if before is not None:
        wanted &= weight_settings.c.cycle < before
    query = select(*_columns(weight_settings, _SHOWN_OF_WEIGHTS)).where(wanted)
    return await _all(connection, query.order_by(weight_settings.c.cycle.desc()).limit(limit))


async def page_of_miners(connection: AsyncConnection, after: str, limit: int) -> list[str]:
    """Miners that have shown a manifest, by hotkey."""
    miner = manifests.c.miner_hotkey
    query = select(miner).distinct().where(miner > after).order_by(miner).limit(limit)
    return [str(row[0]) for row in await connection.execute(query)]


async def manifests_of(connection: AsyncConnection, miners: Sequence[str]) -> Rows:
    """The manifests of these miners, by miner and class."""
    wanted = manifests.c.miner_hotkey.in_(miners)
    order = (manifests.c.miner_hotkey, manifests.c.executor_class)
    return await _all(connection, select(manifests).where(wanted).order_by(*order))


async def page_of_receipts(
    connection: AsyncConnection, before: int | None, limit: int, wanted: ReceiptsWanted
) -> Rows:
    """Receipts, the newest first; none of a job of a batch that has not fired."""
    rows = receipts.c
    secret = (
        select(batch_jobs.c.attempt_uuid)
        .join(batches, batches.c.uuid == batch_jobs.c.batch_uuid)
        .where(batches.c.fired_at.is_(None) & (batch_jobs.c.attempt_uuid == rows.job_uuid))
    )
    condition = (
        ~secret.exists()
        & _equal(rows.job_uuid, wanted.job_uuid)
        & _equal(rows.miner_hotkey, wanted.miner_hotkey)
        & _equal(rows.receipt_type, wanted.receipt_type)
    )
    if wanted.cycle is not None:
        condition &= rows.job_uuid.in_(
            select(verdicts.c.attempt_uuid).where(verdicts.c.cycle == wanted.cycle)
        )
    if before is not None:
        condition &= rows.id < before
    return await _all(connection, select(receipts).where(condition).order_by(rows.id.desc()).limit(limit))


async def own_usage(connection: AsyncConnection, cycle: int | None) -> tuple[int | None, Rows]:
    """What this validator used in a cycle, by class: jobs and their time; the newest cycle for ``None``."""
    if cycle is None:
        cycle = (await connection.execute(select(func.max(verdicts.c.cycle)))).scalar_one()
    query = (
        select(
            verdicts.c.executor_class,
            verdicts.c.is_organic,
            func.count().label("jobs"),
            func.sum(verdicts.c.run_us).label("run_us"),
        )
        .where(verdicts.c.cycle == cycle)
        .group_by(verdicts.c.executor_class, verdicts.c.is_organic)
        .order_by(verdicts.c.executor_class, verdicts.c.is_organic)
    )
    return cycle, await _all(connection, query)


async def _all(connection: AsyncConnection, query: Select[Any]) -> Rows:
    found: Rows = (await connection.execute(query)).all()
    return found


def _columns(table: Table, names: Sequence[str]) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in names]


def _equal(column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    return true() if value is None else column == value
