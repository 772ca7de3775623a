"""Jobs and their stories in the database; the functions take an open connection, so that they group."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.lifecycle import Ignored, Job, advance
from horde_agents.jobs.states import FINAL, JobState
from horde_agents.store import stories
from horde_agents.store.stories import Told
from horde_agents.store.tables import jobs

#: Built once, because every submission asks it.
_same_signature = and_(
    *(jobs.c[name] == bindparam(name) for name in ("signatory", "timestamp_ns", "signature"))
)
_ADD = {
    "sqlite": sqlite.insert(jobs).on_conflict_do_nothing().inline(),
    "postgresql": postgresql.insert(jobs).on_conflict_do_nothing().inline(),
}
_SAME_SIGNATURE = select(jobs).where(_same_signature)
_SAME_REQUEST = select(jobs).where(or_(_same_signature, jobs.c.uuid == bindparam("uuid")))
_STANDING = select(jobs.c.state, jobs.c.sequence, jobs.c.validator_hotkey).where(
    jobs.c.uuid == bindparam("wanted")
)
_ONE = select(jobs).where(jobs.c.uuid == bindparam("wanted"))
_MOVE = (
    update(jobs)
    .where(jobs.c.uuid == bindparam("wanted"))
    .values(state=bindparam("new_state"), sequence=bindparam("new_sequence"))
)
_OPEN = [state.value for state in JobState if state not in FINAL]


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A user's job as first stored; ``request_json`` is the received text, key order kept."""

    uuid: str
    owner_hotkey: str
    signatory: str
    timestamp_ns: int
    signature: str
    signed_sha256: str
    request_json: str
    validator_hotkey: str
    tag: str
    created_at: datetime
    deadline_at: datetime
    state: JobState = JobState.SENT


@dataclass(frozen=True, slots=True)
class Recorded:
    """A job's new standing, and the entry that its story has got."""

    job: Job
    told: Told


async def add(connection: AsyncConnection, job: StoredJob) -> StoredJob:
    """Store a new job, or return the one already made by the same signed request.

    The caller compares ``signed_sha256`` to tell a retry from a reused signature.
    """
    values = _columns(job)
    added = await connection.execute(_ADD[connection.dialect.name], values | {"sequence": 0})
    if added.rowcount == 1:
        return job
    found = [_job(row) for row in await connection.execute(_SAME_REQUEST, values)]
    return next((known for known in found if known.signature == job.signature), found[0])


async def load(connection: AsyncConnection, uuid: str) -> StoredJob | None:
    """The job, or ``None``."""
    row = (await connection.execute(_ONE, {"wanted": uuid})).one_or_none()
    return _job(row) if row else None


async def by_signature(
    connection: AsyncConnection, signatory: str, timestamp_ns: int, signature: str
) -> StoredJob | None:
    """The job made by this signed request, or ``None``."""
    values = {"signatory": signatory, "timestamp_ns": timestamp_ns, "signature": signature}
    row = (await connection.execute(_SAME_SIGNATURE, values)).one_or_none()
    return _job(row) if row else None


async def record(
    connection: AsyncConnection, uuid: str, event: JobEvent, at: datetime, told_by: str | None = None
) -> Recorded | Ignored:
    """Apply ``event`` to the stored job and append it to the story.

    Raises:
        LookupError: no such job, or ``told_by`` is not its validator.
        NotAuthorised: the event's origin may not report it.
    """
    row = (await connection.execute(_STANDING, {"wanted": uuid})).one_or_none()
    if row is None or told_by not in {None, row.validator_hotkey}:
        raise LookupError(f"job {uuid} is not in this database, or another validator's")
    step = advance(Job(uuid, JobState(row.state)), event)
    if isinstance(step, Ignored):
        return step
    told = Told(row.sequence + 1, event, at)
    moved = {"wanted": uuid, "new_state": step.job.state.value, "new_sequence": told.sequence}
    await connection.execute(_MOVE, moved)
    await stories.append(connection, uuid, told.sequence, event, at)
    return Recorded(step.job, told)


async def save_move(connection: AsyncConnection, job: Job, at: datetime) -> None:
    """Store the last event of ``job``, whose only writer the caller is."""
    sequence = len(job.history)
    moved = {"wanted": job.uuid, "new_state": job.state.value, "new_sequence": sequence}
    await connection.execute(_MOVE, moved)
    await stories.append(connection, job.uuid, sequence, job.history[-1], at)


async def page(
    connection: AsyncConnection,
    owner_hotkey: str,
    *,
    offset: int,
    limit: int,
    tag: str | None = None,
    uuids: Sequence[str] = (),
) -> tuple[int, list[StoredJob]]:
    """How many jobs of ``owner_hotkey`` match, and some of them, newest first."""
    wanted: ColumnElement[bool] = jobs.c.owner_hotkey == owner_hotkey
    if tag is not None:
        wanted &= jobs.c.tag == tag
    if uuids:
        wanted &= jobs.c.uuid.in_(uuids)
    count = (await connection.execute(select(func.count()).select_from(jobs).where(wanted))).scalar_one()
    query = select(jobs).where(wanted).order_by(jobs.c.id.desc()).offset(offset).limit(limit)
    return count, [_job(row) for row in await connection.execute(query)]


async def unfinished(connection: AsyncConnection, validator_hotkey: str | None = None) -> list[StoredJob]:
    """Every job without a final state, oldest first."""
    wanted: ColumnElement[bool] = jobs.c.state.in_(_OPEN)
    if validator_hotkey is not None:
        wanted &= jobs.c.validator_hotkey == validator_hotkey
    return [_job(row) for row in await connection.execute(select(jobs).where(wanted).order_by(jobs.c.id))]


async def overdue(connection: AsyncConnection, now: datetime) -> list[str]:
    """Jobs whose deadline has passed without a final state."""
    wanted = jobs.c.state.in_(_OPEN) & (jobs.c.deadline_at < now)
    return list((await connection.execute(select(jobs.c.uuid).where(wanted))).scalars())


async def open_count(connection: AsyncConnection, validator_hotkey: str) -> int:
    """Jobs at this validator that have no final state."""
    wanted = jobs.c.state.in_(_OPEN) & (jobs.c.validator_hotkey == validator_hotkey)
    return (await connection.execute(select(func.count()).select_from(jobs).where(wanted))).scalar_one()


def _columns(job: StoredJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in StoredJob.__slots__} | {"state": job.state.value}


def _job(row: Row[Any]) -> StoredJob:
    values = {name: getattr(row, name) for name in StoredJob.__slots__}
    return StoredJob(**values | {"state": JobState(row.state)})
