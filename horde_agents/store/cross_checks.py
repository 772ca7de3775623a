"""Jobs that were run again elsewhere: why, what came out, and who was found wrong."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import cross_checks

OPEN = "open"
AGREED = "agreed"
DISAGREED = "disagreed"
UNDECIDED = "undecided"
#: Reasons: a drawn sample, or a user's cheat report.
SAMPLE = "sample"
REPORT = "report"


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """One check of ``miner_hotkey``'s result of a job; ``loser_hotkey`` is whoever was found wrong."""

    uuid: str
    job_uuid: str
    reason: str
    executor_class: str
    miner_hotkey: str
    begun_at: datetime
    reporter_hotkey: str = ""
    state: str = OPEN
    loser_hotkey: str = ""
    evidence_json: str = "{}"
    ended_at: datetime | None = None


async def add(connection: AsyncConnection, check: CrossCheck) -> None:
    """Store a check that begins."""
    values = {name: getattr(check, name) for name in CrossCheck.__slots__}
    await connection.execute(insert(cross_checks).values(**values))


async def end(
    connection: AsyncConnection, uuid: str, state: str, loser_hotkey: str, evidence_json: str, at: datetime
) -> None:
    """Store what a check came to."""
    values = {"state": state, "loser_hotkey": loser_hotkey, "evidence_json": evidence_json, "ended_at": at}
    await connection.execute(update(cross_checks).where(cross_checks.c.uuid == uuid).values(**values))


async def still_open(connection: AsyncConnection) -> list[CrossCheck]:
    """Every check without an outcome, oldest first."""
    query = select(cross_checks).where(cross_checks.c.state == OPEN).order_by(cross_checks.c.id)
    return [_check(row) for row in await connection.execute(query)]


async def load(connection: AsyncConnection, uuid: str) -> CrossCheck | None:
    """The check, or ``None``."""
    row = (await connection.execute(select(cross_checks).where(cross_checks.c.uuid == uuid))).one_or_none()
    return _check(row) if row else None


async def clean_streak(connection: AsyncConnection, miner_hotkey: str, executor_class: str) -> int:
    """How often the miner's results of the class were confirmed since it was last found wrong."""
    lost = select(func.max(cross_checks.c.id)).where(cross_checks.c.loser_hotkey == miner_hotkey)
    last_lost = (await connection.execute(lost)).scalar() or 0
    clean = (
        (cross_checks.c.miner_hotkey == miner_hotkey)
        & (cross_checks.c.executor_class == executor_class)
        & (cross_checks.c.state == AGREED)
        & (cross_checks.c.id > last_lost)
    )
    return await _count(connection, clean)


async def strikes(connection: AsyncConnection, miner_hotkey: str, since: datetime) -> list[CrossCheck]:
    """The checks since ``since`` in which the miner was found wrong, one a job."""
    lost = (cross_checks.c.loser_hotkey == miner_hotkey) & (cross_checks.c.ended_at >= since)
    found = await connection.execute(select(cross_checks).where(lost).order_by(cross_checks.c.id))
    return list({row.job_uuid: _check(row) for row in found}.values())


async def reports_of(connection: AsyncConnection, reporter_hotkey: str, since: datetime) -> tuple[int, int]:
    """How many jobs a user reported since ``since``, and how many of these reports were wrong."""
    made = (cross_checks.c.reporter_hotkey == reporter_hotkey) & (cross_checks.c.begun_at >= since)
    return (
        await _count(connection, made),
        await _count(connection, made & (cross_checks.c.state == AGREED)),
    )


async def _count(connection: AsyncConnection, wanted: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(cross_checks).where(wanted)
    return (await connection.execute(query)).scalar_one()


def _check(row: Row[Any]) -> CrossCheck:
    return CrossCheck(**{name: getattr(row, name) for name in CrossCheck.__slots__})
