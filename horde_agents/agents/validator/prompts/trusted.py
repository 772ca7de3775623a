"""Runs a job of the validator's own at its trusted miner."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from horde_agents.agents.validator import offers
from horde_agents.agents.validator.intake import Intake
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.reactions import Plan
from horde_agents.agents.validator.records import OWN
from horde_agents.agents.validator.run_requests import own_frame
from horde_agents.jobs.events import Declined, Finished, HordeFailed, JobEvent, JobFailed
from horde_agents.jobs.lifecycle import RULES
from horde_agents.protocol.facilitator_validator import V2JobRequest

#: Seconds beyond its budget after which a run counts as lost.
_GRACE_S: Final = 30.0
#: Characters of what the container said last.
_LAST_WORDS: Final = 200


@dataclass(frozen=True, slots=True)
class TrustedRuns:
    """Jobs that only the trusted miner gets; it sees a job like any other."""

    parts: Parts
    intake: Intake

    async def run(self, body: Mapping[str, Any]) -> str:
        """Run the job that ``body`` asks for, as users post it; why it failed, empty when it has completed.

        Raises:
            Refused: ``body`` is no valid job request.
        """
        if self.intake.dispatch.is_draining:
            return "this validator is stopping"
        frame = own_frame({**body, "on_trusted_miner": True}, self.parts.signer)
        request = V2JobRequest.model_validate(frame)
        ended: asyncio.Future[JobEvent] = asyncio.get_running_loop().create_future()

        def listen(event: JobEvent) -> None:
            if RULES[type(event)].target.is_final and not ended.done():
                ended.set_result(event)

        await self.intake.take_job(request, frame, OWN, listener=listen)
        plan = offers.plan_of(request, self.parts.settings)
        try:
            async with asyncio.timeout(longest_s(plan)):
                return _why_failed(await ended)
        except TimeoutError:
            return f"it had no end after {longest_s(plan):g} s"


def longest_s(plan: Plan) -> float:
    """Seconds after which a run counts as lost."""
    return plan.reservation_s + plan.ready_s + plan.limits.running_s + _GRACE_S


def _why_failed(event: JobEvent) -> str:
    match event:
        case Finished():
            return ""
        case JobFailed():
            said = f"{event.message} {(event.stderr or '')[-_LAST_WORDS:]}".strip()
            return f"{event.reason} in {event.stage}: {said}".rstrip(": ")
        case Declined() | HordeFailed():
            return f"{event.reason}: {event.message}".rstrip(": ")
        case _:
            return f"the job ended as {type(event).__name__}"
