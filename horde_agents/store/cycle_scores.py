"""What each cycle was scored from, and what came out: stored before anything goes to the chain."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import cycle_scores


@dataclass(frozen=True, slots=True)
class CycleScore:
    """Inputs and result of one cycle, both as canonical JSON."""

    cycle: int
    inputs_json: str
    result_json: str
    scored_at: datetime


async def put(connection: AsyncConnection, score: CycleScore) -> CycleScore:
    """Store a cycle's score once; the first stays, and is returned to later callers."""
    known = await get(connection, score.cycle)
    if known is not None:
        return known
    await connection.execute(
        insert(cycle_scores).values(
            cycle=score.cycle,
            inputs_json=score.inputs_json,
            result_json=score.result_json,
            scored_at=score.scored_at,
        )
    )
    return score


async def get(connection: AsyncConnection, cycle: int) -> CycleScore | None:
    """A cycle's score, or ``None``."""
    row = (await connection.execute(select(cycle_scores).where(cycle_scores.c.cycle == cycle))).one_or_none()
    return _score(row) if row else None


async def newest(connection: AsyncConnection) -> CycleScore | None:
    """The score of the newest cycle that has one, or ``None``."""
    query = select(cycle_scores).order_by(cycle_scores.c.cycle.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return _score(row) if row else None


async def numbers(connection: AsyncConnection, most: int = 100) -> list[int]:
    """The newest scored cycles, newest first."""
    query = select(cycle_scores.c.cycle).order_by(cycle_scores.c.cycle.desc()).limit(most)
    return list((await connection.execute(query)).scalars())


def _score(row: Row[Any]) -> CycleScore:
    return CycleScore(row.cycle, row.inputs_json, row.result_json, row.scored_at)
