"""The validator's own verdicts: append-only, chained by hashes, read as bare columns when a cycle is scored.

Each row's ``chain_sha256`` is the SHA-256 of the one before (hexadecimal, empty for the first) and of the
row's canonical JSON, so a row that is changed, added in between or taken out later shows.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, cast

from sqlalchemy import Integer, Row, Select, bindparam, insert, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.scoring.canonical import canonical_json
from horde_agents.scoring.facts import Outcome, Work
from horde_agents.scoring.tally import VerdictRow
from horde_agents.store.tables import verdicts

_WHY_CHARACTERS: Final = 500
#: Rows taken at a time from a long reading: each time everything else waits for some milliseconds.
_ROWS_AT_A_TIME: Final = 1_000
#: Rows of one page of the log.
MAX_PAGE_ROWS: Final = 1_000
#: Any number; the same one makes two writers of PostgreSQL take turns at the chain's end.
_CHAIN_LOCK: Final = 7_201_219
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: What a row's hash covers: all that is said, not the row's number.
_CHAINED: Final = tuple(column.name for column in verdicts.c if column.name not in {"id", "chain_sha256"})

#: Built once, because every attempt asks them.
_ADD: Final = insert(verdicts)
_KNOWN: Final = select(verdicts.c.attempt_uuid).where(
    verdicts.c.attempt_uuid.in_(bindparam("attempts", expanding=True))
)
_END_OF_CHAIN: Final = select(verdicts.c.chain_sha256).order_by(verdicts.c.id.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict with what does not score: why, and when; ``cycle`` is the one in which the attempt ended."""

    work: Work
    job_uuid: str
    cycle: int
    why: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """A row of the log, in its place in the chain."""

    id: int
    verdict: Verdict
    chain_sha256: str


@dataclass(frozen=True, slots=True)
class LogEnd:
    """A place in the log: a row and all before it; id 0 is the place before all rows."""

    id: int
    chain_sha256: str


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """How many rows were read, and the first whose hash does not fit, if there is one."""

    rows: int
    broken_id: int | None
    end_sha256: str


async def append(connection: AsyncConnection, verdict: Verdict) -> bool:
    """Add a verdict at the end; ``False``, with nothing changed, if the attempt has one already."""
    return bool(await append_all(connection, [verdict]))


async def append_all(connection: AsyncConnection, found: Sequence[Verdict]) -> Sequence[Verdict]:
    """Add verdicts at the end, in their order; those whose attempts had none yet, which were added."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHAIN_LOCK})
    by_attempt = {verdict.work.attempt_uuid: verdict for verdict in reversed(found)}  # the first stays
    asked = {"attempts": list(by_attempt)}
    for known in (await connection.execute(_KNOWN, asked)).scalars().all():
        del by_attempt[known]
    added = list(reversed(by_attempt.values()))
    end, rows = await end_of_chain(connection), []
    for verdict in added:
        values = _values(verdict)
        end = _chained(end, values)
        rows.append({**values, "chain_sha256": end})
    if rows:
        await connection.execute(_ADD, rows)
    return added


async def end_of_chain(connection: AsyncConnection) -> str:
    """The hash of the newest row; empty without rows."""
    return str((await connection.execute(_END_OF_CHAIN)).scalar_one_or_none() or "")


async def end_of_cycle(connection: AsyncConnection, cycle: int) -> LogEnd:
    """The newest row of a cycle: what is scored ends there, whatever is appended meanwhile."""
    newest = (
        select(verdicts.c.id, verdicts.c.chain_sha256)
        .where(verdicts.c.cycle == cycle)
        .order_by(verdicts.c.id.desc())
        .limit(1)
    )
    row = (await connection.execute(newest)).one_or_none()
    return LogEnd(row.id, row.chain_sha256) if row else LogEnd(0, "")


async def end_named(connection: AsyncConnection, chain_sha256: str) -> LogEnd | None:
    """The row with this hash, or ``None``; the empty hash names the place before all rows."""
    if not chain_sha256:
        return LogEnd(0, "")
    query = select(verdicts.c.id).where(verdicts.c.chain_sha256 == chain_sha256)
    found = (await connection.execute(query)).scalar_one_or_none()
    return LogEnd(found, chain_sha256) if found else None


async def of_cycle(
    connection: AsyncConnection, cycle: int, end: LogEnd
) -> AsyncIterator[Sequence[VerdictRow]]:
    """The rows of a cycle up to ``end`` as ``Tally.add`` takes them, some thousands at a time."""
    columns = (
        verdicts.c.miner_hotkey,
        verdicts.c.executor_class,
        type_coerce(verdicts.c.is_organic, Integer),  # 0 and 1 will do: a conversion costs each row
        verdicts.c.batch_uuid,
        verdicts.c.user_hotkey,
        verdicts.c.outcome,
        verdicts.c.run_us,
        verdicts.c.limit_us,
    )
    wanted = (verdicts.c.cycle == cycle) & (verdicts.c.id <= end.id)
    result = await connection.stream(select(*columns).where(wanted))
    async for rows in result.partitions(_ROWS_AT_A_TIME):
        yield cast("Sequence[VerdictRow]", rows)


async def page(
    connection: AsyncConnection, after_id: int = 0, rows: int = MAX_PAGE_ROWS, cycle: int | None = None
) -> list[StoredVerdict]:
    """The rows behind ``after_id`` in the chain's order, ``MAX_PAGE_ROWS`` at most."""
    query = select(verdicts).where(verdicts.c.id > after_id)
    if cycle is not None:
        query = query.where(verdicts.c.cycle == cycle)
    query = query.order_by(verdicts.c.id).limit(max(1, min(rows, MAX_PAGE_ROWS)))
    return [_stored(row) for row in await connection.execute(query)]


async def of_batch(connection: AsyncConnection, batch_uuid: str) -> list[StoredVerdict]:
    """All verdicts of a batch, oldest first."""
    query = select(verdicts).where(verdicts.c.batch_uuid == batch_uuid).order_by(verdicts.c.id)
    return [_stored(row) for row in await connection.execute(query)]


async def verify_chain(connection: AsyncConnection) -> ChainCheck:
    """Read the whole log and compare every hash."""
    end, rows = "", 0
    result = await connection.stream(_in_order())
    async for chunk in result.partitions(_ROWS_AT_A_TIME):
        for row in chunk:
            rows += 1
            end = _chained(end, {name: row._mapping[name] for name in _CHAINED})
            if end != row.chain_sha256:
                return ChainCheck(rows, row.id, row.chain_sha256)
    return ChainCheck(rows, None, end)


def _in_order() -> Select[Any]:
    return select(verdicts).order_by(verdicts.c.id)


def _chained(previous: str, values: dict[str, Any]) -> str:
    ended_us = (values["ended_at"] - _EPOCH) // timedelta(microseconds=1)
    row = canonical_json({**values, "ended_at": ended_us})
    return sha256(previous.encode() + row.encode()).hexdigest()


def _values(verdict: Verdict) -> dict[str, Any]:
    work = verdict.work
    return {
        "attempt_uuid": work.attempt_uuid,
        "job_uuid": verdict.job_uuid,
        "cycle": verdict.cycle,
        "is_organic": work.is_organic,
        "batch_uuid": work.batch_uuid,
        "miner_hotkey": work.miner_hotkey,
        "executor_class": work.executor_class,
        "user_hotkey": work.user_hotkey,
        "outcome": work.outcome.value,
        "why": _storable(verdict.why),
        "run_us": work.run_us,
        "limit_us": work.limit_us,
        "ended_at": verdict.ended_at,
    }


def _storable(why: str) -> str:
    """A text that a peer may have a part in, as every database takes it and gives it back."""
    return why[:_WHY_CHARACTERS].replace("\0", "\ufffd").encode(errors="replace").decode()


def _stored(row: Row[Any]) -> StoredVerdict:
    work = Work(
        attempt_uuid=row.attempt_uuid,
        is_organic=row.is_organic,
        batch_uuid=row.batch_uuid,
        miner_hotkey=row.miner_hotkey,
        executor_class=row.executor_class,
        user_hotkey=row.user_hotkey,
        outcome=Outcome(row.outcome),
        run_us=row.run_us,
        limit_us=row.limit_us,
    )
    return StoredVerdict(
        row.id, Verdict(work, row.job_uuid, row.cycle, row.why, row.ended_at), row.chain_sha256
    )
