"""Takes up what the store knows of miners' incidents when the validator starts."""

from datetime import timedelta
from typing import Final

from horde_agents.agents.validator.reactions import incident_weight
from horde_agents.agents.validator.reliability import Reliability
from horde_agents.runtime.clock import now
from horde_agents.store import attempts
from horde_agents.store.engine import Store

#: Half-lives after which what happened weighs nothing any more.
_HALF_LIVES: Final = 6


async def remembered(store: Store, half_life_s: float) -> Reliability:
    """The reliability of every miner by the attempts in the store.

    An excuse is not stored with its decline, so an excused one counts like another until it fades.
    """
    reliability = Reliability(half_life_s)
    since = now() - timedelta(seconds=half_life_s * _HALF_LIVES)
    async with store.reading() as connection:
        ended = await attempts.ended_since(connection, since)
    for attempt in ended:
        at_s = attempt.ended_at.timestamp()
        reliability.tried(attempt.miner_hotkey, at_s)
        if attempt.last is not None:
            reliability.incident(attempt.miner_hotkey, at_s, incident_weight(attempt.last))
    return reliability
