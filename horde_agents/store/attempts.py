"""Attempts and leases in the database, at the validator and at the miner."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, case, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.jobs.events import Declined, HordeFailed, JobEvent, event_from_json, kind_of_type
from horde_agents.jobs.lifecycle import Ignored, Job, advance
from horde_agents.jobs.states import FINAL, JobState
from horde_agents.store import stories
from horde_agents.store.tables import attempts, job_events, leases

#: Kinds of last events that say something about a miner.
_TELLING = [kind_of_type(Declined), kind_of_type(HordeFailed)]
#: Faults after which a pause grows no more anyway.
_MOST_FAULTS = 64
_is_last = (job_events.c.subject_uuid == attempts.c.uuid) & (job_events.c.sequence == attempts.c.sequence)
_OPEN = [state.value for state in JobState if state not in FINAL]
#: Built once, because every step of every attempt asks them.
_THIS = attempts.c.uuid == bindparam("wanted")
_ADD = insert(attempts)
_ONE = select(attempts).where(_THIS)
_STANDING = select(attempts.c.state, attempts.c.sequence).where(_THIS)
_STEP: dict[str, Any] = {"state": bindparam("new_state"), "sequence": bindparam("new_sequence")}
_MOVE = update(attempts).where(_THIS).values(_STEP)
_MOVE_WITH_DEADLINE = (
    update(attempts).where(_THIS).values({**_STEP, "deadline_at": bindparam("new_deadline_at")})
)
_LEASE = insert(leases)
_END_LEASE = (
    update(leases)
    .where((leases.c.attempt_uuid == bindparam("wanted")) & leases.c.open_slot_id.is_not(None))
    .values(open_slot_id=None, ended_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """One try of ``job_uuid`` (its own uuid at the miner) at one miner."""

    uuid: str
    job_uuid: str
    miner_hotkey: str
    validator_hotkey: str
    executor_class: str
    slot_id: str
    created_at: datetime
    deadline_at: datetime
    state: JobState = JobState.SENT


async def add(connection: AsyncConnection, attempt: StoredAttempt) -> None:
    """Store a new attempt."""
    values = {name: getattr(attempt, name) for name in StoredAttempt.__slots__}
    await connection.execute(_ADD, values | {"state": attempt.state.value, "sequence": 0})


async def load(connection: AsyncConnection, uuid: str) -> StoredAttempt | None:
    """The attempt, or ``None``."""
    row = (await connection.execute(_ONE, {"wanted": uuid})).one_or_none()
    return _attempt(row) if row else None


async def of_job(connection: AsyncConnection, job_uuid: str) -> list[StoredAttempt]:
    """All attempts of a job, oldest first."""
    query = select(attempts).where(attempts.c.job_uuid == job_uuid).order_by(attempts.c.id)
    return [_attempt(row) for row in await connection.execute(query)]


async def unfinished(connection: AsyncConnection) -> list[StoredAttempt]:
    """Every attempt without a final state, oldest first."""
    query = select(attempts).where(attempts.c.state.in_(_OPEN)).order_by(attempts.c.id)
    return [_attempt(row) for row in await connection.execute(query)]


async def record(connection: AsyncConnection, uuid: str, event: JobEvent, at: datetime) -> Job | Ignored:
    """Apply ``event`` to the stored attempt and append it to its story.

    Raises:
        LookupError: no such attempt.
        NotAuthorised: the event's origin may not report it.
    """
    row = (await connection.execute(_STANDING, {"wanted": uuid})).one_or_none()
    if row is None:
        raise LookupError(f"attempt {uuid} is not in this database")
    step = advance(Job(uuid, JobState(row.state)), event)
    if isinstance(step, Ignored):
        return step
    sequence = row.sequence + 1
    moved = {"wanted": uuid, "new_state": step.job.state.value, "new_sequence": sequence}
    await connection.execute(_MOVE, moved)
    await stories.append(connection, uuid, sequence, event, at)
    return step.job


async def save_move(
    connection: AsyncConnection, attempt: Job, at: datetime, deadline_at: datetime | None = None
) -> None:
    """Store the last event of ``attempt``, whose only writer the caller is, and its stage's deadline."""
    sequence = len(attempt.history)
    moved = {"wanted": attempt.uuid, "new_state": attempt.state.value, "new_sequence": sequence}
    if deadline_at is None:
        await connection.execute(_MOVE, moved)
    else:
        await connection.execute(_MOVE_WITH_DEADLINE, {**moved, "new_deadline_at": deadline_at})
    await stories.append(connection, attempt.uuid, sequence, attempt.history[-1], at)


async def faults(connection: AsyncConnection, miner_hotkey: str, not_before: datetime) -> list[JobEvent]:
    """The horde faults that ended this miner's newest attempts since ``not_before``, whoever's they were."""
    wanted = (
        (attempts.c.miner_hotkey == miner_hotkey)
        & (attempts.c.state == JobState.HORDE_FAILED.value)
        & (attempts.c.created_at >= not_before)
    )
    query = (
        select(job_events.c.kind, job_events.c.payload_json)
        .join(attempts, _is_last)
        .where(wanted)
        .order_by(attempts.c.id.desc())
        .limit(_MOST_FAULTS)
    )
    return [event_from_json(row.kind, row.payload_json) for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over; ``last`` is its last event where that blames somebody or declines.

    Results may be megabytes each, so they are not read.
    """

    uuid: str
    miner_hotkey: str
    executor_class: str
    created_at: datetime
    ended_at: datetime
    last: JobEvent | None


async def ended_since(connection: AsyncConnection, not_before: datetime) -> list[Ended]:
    """Attempts made since ``not_before`` that are over, oldest first."""
    payload = case((job_events.c.kind.in_(_TELLING), job_events.c.payload_json), else_="")
    query = (
        select(attempts, job_events.c.kind, payload.label("payload_json"), job_events.c.at.label("ended_at"))
        .join(job_events, _is_last)
        .where((attempts.c.created_at >= not_before) & attempts.c.state.not_in(_OPEN))
        .order_by(attempts.c.id)
    )
    return [
        Ended(
            row.uuid,
            row.miner_hotkey,
            row.executor_class,
            row.created_at,
            row.ended_at,
            event_from_json(row.kind, row.payload_json) if row.payload_json else None,
        )
        for row in await connection.execute(query)
    ]


async def lease(connection: AsyncConnection, attempt_uuid: str, slot_id: str, at: datetime) -> None:
    """Give the slot to the attempt.

    Raises:
        sqlalchemy.exc.IntegrityError: the slot has an open lease.
    """
    values = {"attempt_uuid": attempt_uuid, "slot_id": slot_id, "open_slot_id": slot_id, "taken_at": at}
    await connection.execute(_LEASE, values)


async def end_lease(connection: AsyncConnection, attempt_uuid: str, at: datetime) -> None:
    """Take the slot back; a lease that has ended stays as it is."""
    await connection.execute(_END_LEASE, {"wanted": attempt_uuid, "at": at})


@dataclass(frozen=True, slots=True)
class Leased:
    """A slot that a validator had, or still has, for an attempt."""

    attempt_uuid: str
    validator_hotkey: str
    executor_class: str
    taken_at: datetime
    ended_at: datetime | None


async def leased_since(connection: AsyncConnection, since: datetime) -> list[Leased]:
    """The leases that are open or ended after ``since``, in the order they were taken."""
    query = (
        select(attempts.c.validator_hotkey, attempts.c.executor_class, leases)
        .join(leases, leases.c.attempt_uuid == attempts.c.uuid)
        .where(leases.c.open_slot_id.is_not(None) | (leases.c.ended_at >= since))
        .order_by(attempts.c.id)
    )
    return [
        Leased(row.attempt_uuid, row.validator_hotkey, row.executor_class, row.taken_at, row.ended_at)
        for row in await connection.execute(query)
    ]


def _attempt(row: Row[Any]) -> StoredAttempt:
    values = {name: getattr(row, name) for name in StoredAttempt.__slots__}
    return StoredAttempt(**values | {"state": JobState(row.state)})
