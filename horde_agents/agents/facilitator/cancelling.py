"""Takes a job back: asks its validator, and tells the user when a hop cannot."""

import asyncio

from horde_agents.agents.facilitator.book import JobBook
from horde_agents.agents.facilitator.links import Links
from horde_agents.jobs.events import Cancelled
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.facilitator_validator import HordeCancelJob
from horde_agents.protocol.frames import render
from horde_agents.protocol.rest_api import Refused
from horde_agents.store.jobs import StoredJob


async def cancel(job: StoredJob, book: JobBook, links: Links) -> None:
    """Return when the job is being ended.

    Raises:
        Refused: it has ended already, or a peer on its way cannot cancel.
    """
    if job.state.is_final:
        raise Refused("job.already_final", f"The job has ended: {job.state.value}.")
    link = links.of(job.validator_hotkey)
    if link is None:
        if job.state is not JobState.SENT:
            raise Refused("job.cancel_unsupported", "The job's validator has no live link; try again later.")
        await book.happened(job.uuid, Cancelled(Role.FACILITATOR, "Cancelled before any validator had it."))
        return
    if Extension.CANCEL not in link.extensions:
        raise Refused("job.cancel_unsupported", "The job's validator cannot cancel; the job goes on.")
    answer = links.expect_cancel(job.uuid)
    try:
        await link.send(render(HordeCancelJob(uuid=job.uuid, message="cancelled by its owner")))
        async with asyncio.timeout(book.parts.settings.cancel_answer_s):
            result = await asyncio.shield(answer)
    except TimeoutError as error:
        raise Refused(
            "job.cancel_unsupported", "The job's validator did not answer; the job goes on."
        ) from error
    finally:
        links.forget_cancel(job.uuid)
    if not result.accepted:
        raise Refused("job.cancel_unsupported", result.message or "A peer on the job's way cannot cancel.")
