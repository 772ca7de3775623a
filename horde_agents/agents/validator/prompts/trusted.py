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
from horde_agents.jobs.events import Finished, JobEvent
from horde_agents.jobs.lifecycle import RULES
from horde_agents.protocol.facilitator_validator import V2JobRequest

#: Seconds beyond its budget after which a run counts as lost.
_GRACE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class TrustedRuns:
    """Jobs that only the trusted miner gets; it sees a job like any other."""

    parts: Parts
    intake: Intake

    async def run(self, body: Mapping[str, Any]) -> bool:
        """Whether the job that ``body`` asks for, as users post it, has completed there.

        Raises:
            Refused: ``body`` is no valid job request.
        """
        if self.intake.dispatch.is_draining:
            return False
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
                return isinstance(await ended, Finished)
        except TimeoutError:
            return False


def longest_s(plan: Plan) -> float:
    """Seconds after which a run counts as lost."""
    return plan.reservation_s + plan.ready_s + plan.limits.running_s + _GRACE_S
