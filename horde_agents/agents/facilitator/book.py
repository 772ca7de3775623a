"""Jobs at the facilitator: stored, moved by events, read as users see them."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.agents.facilitator.reactions import CountEnd, TellFollowers, react
from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.lifecycle import RULES, Ignored, Moved, NotAuthorised
from horde_agents.jobs.states import JobState
from horde_agents.protocol.rest_api import CreateJob, StatusEntry, job_object
from horde_agents.protocol.status_updates import metadata_of
from horde_agents.runtime import clock
from horde_agents.runtime.logs import get_logger
from horde_agents.store import jobs, stories
from horde_agents.store.jobs import Recorded, StoredJob
from horde_agents.store.stories import Told

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobBook:
    """All jobs of this facilitator."""

    parts: FacilitatorParts

    async def happened(self, uuid: str, event: JobEvent, told_by: str | None = None) -> Moved | Ignored:
        """Apply ``event``; it is on disk before anybody hears of it.

        ``told_by`` is the validator that says so; only a job's own validator may.

        Raises:
            LookupError: no such job, or not that validator's.
            NotAuthorised: the event's origin may not report it.
        """
        at = clock.now()

        async def record(connection: AsyncConnection) -> Recorded | Ignored | LookupError | NotAuthorised:
            try:
                return await jobs.record(connection, uuid, event, at, told_by)
            except (LookupError, NotAuthorised) as refusal:
                return refusal  # raised below: a unit that raises makes its whole group run again

        result = await self.parts.store.writer.run(record)
        if isinstance(result, LookupError | NotAuthorised):
            raise result
        if isinstance(result, Ignored):
            return result
        self._perform(result, told_by)
        return Moved(result.job)

    async def read(self, uuid: str, owner_hotkey: str) -> StoredJob | None:
        """The job, if it is this owner's."""
        async with self.parts.store.reading() as connection:
            job = await jobs.load(connection, uuid)
        return job if job is not None and job.owner_hotkey == owner_hotkey else None

    async def shown(self, connection: AsyncConnection, job: StoredJob) -> dict[str, Any]:
        """The job as its owner reads it."""
        body = json.loads(job.request_json)
        history = shown_history(job, await stories.told(connection, job.uuid))
        return job_object(job.uuid, body, CreateJob.model_validate(body), history, job.created_at)

    def shown_new(self, job: StoredJob, body: dict[str, Any], request: CreateJob) -> dict[str, Any]:
        """A job that has only been sent, without reading it back."""
        return job_object(job.uuid, body, request, shown_history(job, []), job.created_at)

    def _perform(self, recorded: Recorded, told_by: str | None) -> None:
        for effect in react(Moved(recorded.job)):
            match effect:
                case TellFollowers():
                    self.parts.watchers.tell(recorded.job.uuid, recorded.told)
                case CountEnd(state):
                    _log.info("job ended", job=recorded.job.uuid, peer=told_by, state=state.value)
                    self.parts.metrics.ended.labels(state=state.value).inc()


def shown_history(job: StoredJob, told: list[Told]) -> list[StatusEntry]:
    """Statuses as users read them, oldest first; ``sent`` is the job's own making."""
    return [StatusEntry(JobState.SENT, {}, clock.iso(job.created_at)), *(entry_of(item) for item in told)]


def entry_of(told: Told) -> StatusEntry:
    """One event of a story as a status entry."""
    return StatusEntry(RULES[type(told.event)].target, metadata_of(told.event), _text(told.at))


def _text(at: datetime) -> str:
    return clock.iso(at)
