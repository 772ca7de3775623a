"""What each cycle was scored from, and what came out; the texts are canonical."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import cycle_scores


@dataclass(frozen=True, slots=True)
class CycleScore:
    """One cycle's inputs and result."""

    cycle: int
    inputs_json: str
    result_json: str
    scored_at: datetime


async def put(connection: AsyncConnection, score: CycleScore) -> CycleScore:
    """Store a cycle's score once; the stored one, which may be an earlier one."""
    known = await load(connection, score.cycle)
    if known is not None:
        return known
    values = {name: getattr(score, name) for name in CycleScore.__slots__}
    await connection.execute(insert(cycle_scores), values)
    return score


async def load(connection: AsyncConnection, cycle: int | None = None) -> CycleScore | None:
    """The score of a cycle, or of the newest one that has been scored."""
    query = select(cycle_scores).order_by(cycle_scores.c.cycle.desc()).limit(1)
    if cycle is not None:
        query = query.where(cycle_scores.c.cycle == cycle)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return CycleScore(row.cycle, row.inputs_json, row.result_json, row.scored_at)
