"""What the validator stores, one transaction a step; the units here run on the store's writer.

In ``jobs`` the column ``tag`` names where a job came from: a facilitator's address, or ``OWN``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.jobs.events import JobEvent
from horde_agents.receipts.ledger import Receipt
from horde_agents.store import access, attempts, jobs, outbox, receipts, stories
from horde_agents.store.outbox import Kept

#: Lists of the table ``access``.
SUBMIT: Final = "submit"
BLACKLIST: Final = "blacklist"
#: Where the validator's own jobs come from.
OWN: Final = "own"
_FAULTS_COUNT_FOR: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Pause:
    """A miner gets no jobs for ``first_s``, doubled with each fault of a day up to ``cap_s``."""

    miner_hotkey: str
    why: str
    first_s: float
    cap_s: float


@dataclass(slots=True)
class Change:
    """Everything that one step changes; ``None`` and empty parts are left as they are."""

    at: datetime
    attempt_uuid: str | None = None
    attempt_event: JobEvent | None = None
    deadline_at: datetime | None = None
    receipts: list[Receipt] = field(default_factory=list)
    pause: Pause | None = None
    job_uuid: str | None = None
    job_event: JobEvent | None = None
    source: str = OWN
    update_json: str | None = None


async def apply(connection: AsyncConnection, change: Change) -> Kept | None:
    """Store ``change``; the kept status update, if it has one."""
    if change.attempt_uuid and change.attempt_event:
        await attempts.record(connection, change.attempt_uuid, change.attempt_event, change.at)
    if change.attempt_uuid and change.deadline_at:
        await attempts.move_deadline(connection, change.attempt_uuid, change.deadline_at)
    for receipt in change.receipts:
        await receipts.file(connection, receipt, change.at)
    if change.pause:
        await pause(connection, change.pause, change.at)
    if change.job_uuid and change.job_event:
        await jobs.record(connection, change.job_uuid, change.job_event, change.at)
    if change.job_uuid and change.update_json and change.source != OWN:
        return await outbox.keep(connection, change.source, change.job_uuid, change.update_json, change.at)
    return None


async def take_job(
    connection: AsyncConnection, job: jobs.StoredJob, events: Sequence[tuple[JobEvent, str]]
) -> tuple[jobs.StoredJob, list[Kept]]:
    """Store a new job with its first events and their updates, or return the one already made."""
    stored = await jobs.add(connection, job)
    if stored is not job:
        return stored, []
    kept = []
    for event, update_json in events:
        change = Change(job.created_at, None, None, None, [], None, job.uuid, event, job.tag, update_json)
        message = await apply(connection, change)
        kept += [message] if message else []
    return stored, kept


async def offer(
    connection: AsyncConnection, attempt: attempts.StoredAttempt, started: Receipt | None
) -> None:
    """Store a new attempt, and what must be on disk before it is offered."""
    await attempts.add(connection, attempt)
    if started:
        await receipts.file(connection, started, attempt.created_at)


async def pause(connection: AsyncConnection, wanted: Pause, at: datetime) -> None:
    """Bar the miner for a while; a longer bar stays."""
    faults = await attempts.fault_count(connection, wanted.miner_hotkey, at - _FAULTS_COUNT_FOR)
    span_s = min(wanted.first_s * 2 ** min(max(faults - 1, 0), 30), wanted.cap_s)
    until = at + timedelta(seconds=span_s)
    known = (await access.entries(connection, BLACKLIST, at)).get(wanted.miner_hotkey)
    if span_s <= 0 or (known and (known.until is None or known.until >= until)):
        return
    entry = access.Entry(wanted.miner_hotkey, allowed=False, note=wanted.why[:500], until=until)
    await access.put(connection, BLACKLIST, entry)


async def history(connection: AsyncConnection, uuid: str) -> list[JobEvent]:
    """The events of a job or an attempt, oldest first."""
    return [told.event for told in await stories.told(connection, uuid)]
