"""The append-only histories of jobs and attempts."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.jobs.events import JobEvent, event_from_json, event_to_json, kind_of
from horde_agents.store.tables import job_events

#: Built once, because every step of every job asks them.
_APPEND = insert(job_events)
_TOLD = (
    select(job_events)
    .where((job_events.c.subject_uuid == bindparam("wanted")) & (job_events.c.sequence > bindparam("after")))
    .order_by(job_events.c.sequence)
)


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a story; ``sequence`` counts from 1."""

    sequence: int
    event: JobEvent
    at: datetime


async def append(
    connection: AsyncConnection, subject_uuid: str, sequence: int, event: JobEvent, at: datetime
) -> None:
    """Add the ``sequence``-th event."""
    values = {
        "subject_uuid": subject_uuid,
        "sequence": sequence,
        "kind": kind_of(event),
        "payload_json": event_to_json(event),
        "at": at,
    }
    await connection.execute(_APPEND, values)


async def told(connection: AsyncConnection, subject_uuid: str, after: int = 0) -> list[Told]:
    """The events of a job or attempt whose sequence is over ``after``, oldest first."""
    rows = await connection.execute(_TOLD, {"wanted": subject_uuid, "after": after})
    return [Told(row.sequence, event_from_json(row.kind, row.payload_json), row.at) for row in rows]
