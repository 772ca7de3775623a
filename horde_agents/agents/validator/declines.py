"""Whether a miner that declines a user's job as busy is justified, by receipts or by our share."""

from collections.abc import Sequence
from dataclasses import dataclass

from horde_agents.agents.validator.excuses import is_excused
from horde_agents.agents.validator.parts import LiveJob, Parts
from horde_agents.agents.validator.shares import ShareDecline, is_for_share
from horde_agents.jobs.events import Declined, JobEvent
from horde_agents.protocol.validator_miner import SignedReceipt
from horde_agents.receipts.payloads import JobStarted, Payload
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BusyDecline:
    """What was declined, and the receipts that came with it; ``offer`` is our started receipt's payload."""

    live: LiveJob
    miner_hotkey: str
    offer: Payload | None
    event: JobEvent
    shown: Sequence[SignedReceipt]


async def is_justified(parts: Parts, decline: BusyDecline) -> bool:
    """Whether the miner shows that its executors are taken, or that others come before us."""
    if isinstance(decline.offer, JobStarted) and await is_excused(parts, decline.offer, decline.shown):
        return True
    return await _is_fair(parts, decline)


async def _is_fair(parts: Parts, decline: BusyDecline) -> bool:
    """Whether others come before us; a miner that claims it wrongly is at fault."""
    event, hotkey = decline.event, decline.miner_hotkey
    if not is_for_share(event) or not isinstance(event, Declined):
        return False
    claimed = ShareDecline(hotkey, decline.live.request.executor_class, event.context, now())
    why = await parts.shares.why_unfair(claimed, parts.store, parts.knobs())
    if why is not None:
        _log.warning("unfair decline", job=decline.live.uuid, peer=hotkey, why=why)
        parts.reliability.incident(hotkey, now().timestamp())
    return why is None
