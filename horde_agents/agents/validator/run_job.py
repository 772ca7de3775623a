"""Runs a job of the validator's own, without a facilitator: same checks, same dispatch, same store."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from horde_agents.agents.validator.app import assembled
from horde_agents.agents.validator.records import OWN
from horde_agents.agents.validator.run_requests import own_frame
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.lifecycle import RULES
from horde_agents.jobs.states import JobState
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.rest_api import read_create_job
from horde_agents.protocol.signing import Hotkey


@dataclass(frozen=True, slots=True)
class OwnOutcome:
    """How the job ended; ``event`` carries output or reason."""

    uuid: str
    state: JobState
    event: JobEvent


async def run_own_job(
    settings: ValidatorSettings,
    body: Mapping[str, Any],
    miner_hotkey: Hotkey | None,
    on_event: Callable[[JobEvent], None],
) -> OwnOutcome:
    """Run the job request ``body`` (as users post it) at ``miner_hotkey``, or at a routed miner.

    ``on_event`` hears every event of the job as it happens. Works beside a running validator on the
    same database; when cancelled, the job is taken back.

    Raises:
        Refused: ``body`` is no valid job request.
        WalletUnreadable: the hotkey file cannot be used.
        StoreUnusable: the database cannot be opened.
    """
    ended: asyncio.Future[JobEvent] = asyncio.get_running_loop().create_future()

    def listen(event: JobEvent) -> None:
        on_event(event)
        if RULES[type(event)].target.is_final and not ended.done():
            ended.set_result(event)

    read_create_job(body)  # before anything is opened
    async with assembled(settings) as validator:
        frame = own_frame(body, validator.parts.signer)
        request = V2JobRequest.model_validate(frame)
        if miner_hotkey is None:
            await validator.polls.ask_unknown()
        await validator.intake.take_job(request, frame, OWN, miner_hotkey=miner_hotkey, listener=listen)
        try:
            event = await asyncio.shield(ended)
        except asyncio.CancelledError:
            await validator.dispatch.cancel(request.uuid, "The operator took the job back.")
            raise
        finally:
            await validator.dispatch.supervisor.settle(settings.cancel_grace_s)
    return OwnOutcome(request.uuid, RULES[type(event)].target, event)
