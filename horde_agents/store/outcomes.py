"""What became of a miner's attempts: counts by outcome, class and validator, and the last ones."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.jobs.states import JobState
from horde_agents.store.tables import attempts, job_events

#: Kinds of events that tell a reason; others may hold a whole output, which is not read here.
_WITH_REASON: Final = ("Declined", "JobFailed", "HordeFailed")
#: Validators are strangers: so many rows of counts are shown at most.
_MOST_COUNTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """Attempts of one validator in one class that are in one state."""

    executor_class: str
    validator_hotkey: str
    state: JobState
    attempts: int


@dataclass(frozen=True, slots=True)
class LastAttempt:
    """One attempt; ``reason`` is empty where there is none, ``changed_at`` its last event's instant."""

    uuid: str
    executor_class: str
    validator_hotkey: str
    slot_id: str
    state: JobState
    reason: str
    created_at: datetime
    changed_at: datetime


async def counts_since(connection: AsyncConnection, at: datetime) -> list[OutcomeCount]:
    """Counts of attempts made since ``at``, the most frequent first."""
    by = (attempts.c.executor_class, attempts.c.validator_hotkey, attempts.c.state)
    many = func.count().label("many")
    query = select(*by, many).where(attempts.c.created_at >= at).group_by(*by)
    rows = await connection.execute(query.order_by(many.desc(), *by).limit(_MOST_COUNTS))
    return [
        OutcomeCount(row.executor_class, row.validator_hotkey, JobState(row.state), row.many) for row in rows
    ]


async def last_since(connection: AsyncConnection, at: datetime, limit: int) -> list[LastAttempt]:
    """The last ``limit`` attempts made since ``at``, the newest first."""
    is_last = and_(job_events.c.subject_uuid == attempts.c.uuid, job_events.c.sequence == attempts.c.sequence)
    told = case((job_events.c.kind.in_(_WITH_REASON), job_events.c.payload_json), else_="{}")
    query = (
        select(attempts, job_events.c.at.label("changed_at"), told.label("told_json"))
        .join(job_events, is_last, isouter=True)
        .where(attempts.c.created_at >= at)
        .order_by(attempts.c.id.desc())
        .limit(limit)
    )
    return [_attempt(row) for row in await connection.execute(query)]


def _attempt(row: Row[Any]) -> LastAttempt:
    told = json.loads(row.told_json)
    cause = (told.get("context") or {}).get("cause")
    reason = str(told.get("reason", ""))
    return LastAttempt(
        row.uuid,
        row.executor_class,
        row.validator_hotkey,
        row.slot_id,
        JobState(row.state),
        f"{reason}, {cause}" if cause else reason,
        row.created_at,
        row.changed_at or row.created_at,
    )
