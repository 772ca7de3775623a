"""What the validator stores, one transaction a step; the units here run on the store's writer.

In ``jobs`` the column ``tag`` names where a job came from: a facilitator's address, or ``OWN``.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.reactions import incident_weight
from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.lifecycle import Job
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.pages import page_of
from horde_agents.store import access, attempts, jobs, outbox, receipts, stories, verdicts
from horde_agents.store.outbox import Kept
from horde_agents.store.verdicts import Verdict

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
    """Everything that one step changes: an attempt that has moved, a job that has moved, and what follows."""

    at: datetime
    source: str
    attempt: Job | None = None
    deadline_at: datetime | None = None
    receipts: list[Receipt] = field(default_factory=list)
    pause: Pause | None = None
    verdict: Verdict | None = None
    job: Job | None = None
    update_json: str = ""


async def apply(connection: AsyncConnection, change: Change) -> Kept | None:
    """Store ``change``; the kept status update, if it has one."""
    if change.attempt:
        await attempts.save_move(connection, change.attempt, change.at, change.deadline_at)
    for receipt in change.receipts:
        await receipts.file(connection, receipt, change.at, page_of(change.at.timestamp()))
    if change.pause:
        await pause(connection, change.pause, change.at)
    if change.verdict:
        await verdicts.append(connection, change.verdict)
    if change.job is None:
        return None
    await jobs.save_move(connection, change.job, change.at)
    if change.source == OWN:
        return None
    return await outbox.keep(connection, change.source, change.job.uuid, change.update_json, change.at)


async def take_job(
    connection: AsyncConnection, job: jobs.StoredJob, moved: Job, update_json: str
) -> tuple[jobs.StoredJob, Kept | None]:
    """Store a new job with its first event and the update about it, or return the one already made."""
    stored = await jobs.add(connection, job)
    if stored is not job:
        return stored, None
    change = Change(job.created_at, job.tag, job=moved, update_json=update_json)
    return stored, await apply(connection, change)


async def offer(
    connection: AsyncConnection, attempt: attempts.StoredAttempt, started: Receipt | None
) -> None:
    """Store a new attempt, and what must be on disk before it is offered."""
    await attempts.add(connection, attempt)
    if started:
        at = attempt.created_at
        await receipts.file(connection, started, at, page_of(at.timestamp()))


async def pause(connection: AsyncConnection, wanted: Pause, at: datetime) -> None:
    """Bar the miner for a while; a longer bar stays."""
    ended = await attempts.faults(connection, wanted.miner_hotkey, at - _FAULTS_COUNT_FOR)
    faults = sum(incident_weight(event) >= 1 for event in ended)  # our own restarts are not the miner's
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
