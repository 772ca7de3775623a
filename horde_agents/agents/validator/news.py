"""Lets others hear of what is being stored: the facilitator, a job's own listener, the log."""

import asyncio

from horde_agents.agents.validator import records
from horde_agents.agents.validator.parts import LiveJob, Parts
from horde_agents.runtime.logs import get_logger
from horde_agents.store.outbox import Kept

_log = get_logger(__name__)


def tell(parts: Parts, live: LiveJob, change: records.Change, row: "asyncio.Future[Kept | None]") -> None:
    """Let the facilitator, or the job's own listener, hear of a change."""
    if change.job is None:
        return
    if live.listener is not None:
        live.listener(change.job.history[-1])
    outbox = parts.outboxes.get(live.source)
    if outbox is not None:
        outbox.post(change.update_json, live.uuid, row)


def observed(row: "asyncio.Future[Kept | None] | asyncio.Future[None]") -> None:
    """Log the failure of a write that nobody waits for."""
    if not row.cancelled() and (error := row.exception()) is not None:
        _log.error("a write behind failed; the next report repairs it", why=str(error))
