"""Runs a completed job once more at a given miner, as a job of the validator's own, without its uploads."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from horde_agents.agents.validator import offers
from horde_agents.agents.validator.intake import Intake
from horde_agents.agents.validator.judging import Output
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.records import OWN
from horde_agents.jobs.events import Finished, JobEvent
from horde_agents.jobs.lifecycle import RULES
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.signed_fields import (
    Scope,
    sign_payload,
    signed_fields_payload,
    view_of_forwarded,
)
from horde_agents.protocol.signing import Hotkey, Signer
from horde_agents.runtime.logs import get_logger

#: Seconds beyond its budget after which a rerun counts as lost.
_GRACE_S: Final = 120.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reruns:
    """Jobs run again; the miner sees a job like any other."""

    parts: Parts
    intake: Intake

    async def run(self, request: V2JobRequest, executor_class: str, miner_hotkey: str) -> Output | None:
        """The job's output at this miner; ``None`` when it did not come to an end there."""
        if self.intake.dispatch.is_draining:
            return None
        frame = rerun_frame(request, executor_class, self.parts.signer)
        ended: asyncio.Future[JobEvent] = asyncio.get_running_loop().create_future()

        def listen(event: JobEvent) -> None:
            if RULES[type(event)].target.is_final and not ended.done():
                ended.set_result(event)

        again = V2JobRequest.model_validate(frame)
        await self.intake.take_job(again, frame, OWN, miner_hotkey=Hotkey(miner_hotkey), listener=listen)
        plan = offers.plan_of(again, self.parts.settings)
        limit_s = plan.reservation_s + plan.ready_s + plan.limits.running_s + _GRACE_S
        try:
            async with asyncio.timeout(limit_s):
                last = await ended
        except TimeoutError:
            return None
        if isinstance(last, Finished):
            return Output(miner_hotkey, last)
        _log.info("rerun came to nothing", job=request.uuid, peer=miner_hotkey, ended=type(last).__name__)
        return None


def rerun_frame(request: V2JobRequest, executor_class: str, signer: Signer) -> dict[str, Any]:
    """The request under a new name, signed by the validator: nothing is uploaded over the user's outputs."""
    change: dict[str, Any] = {
        "uuid": str(uuid4()),
        "executor_class": executor_class,
        "output_upload": None,
        "on_trusted_miner": False,
        "horde_executor_classes": [],
        "horde_wait_s": 0,
    }
    frame = request.model_copy(update=change).model_dump(mode="json")
    payload = signed_fields_payload(view_of_forwarded(frame))
    signature = sign_payload(signer, payload, time.time_ns(), Scope.SIGNED_FIELDS)
    return {**frame, "signature": signature.as_wire()}
