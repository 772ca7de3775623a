"""Dances that an operator asks for."""

import asyncio

from horde_agents.placement.coordination import Put
from horde_agents.placement.records import read_moves
from tests.e2e.cluster.sight import KEYS, Sight

_LOOK_S = 0.2


async def ask_for_a_dance(sight: Sight) -> None:
    """As ``horde placement dance`` does."""
    await sight.consul.commit([Put(KEYS.dance, "now", None)])


async def dances(sight: Sight) -> int:
    """How many slots have moved in dances so far."""
    history = read_moves(await sight.consul.snapshot(KEYS.history))
    return sum(len(record.moves) for record in history if "dance" in record.why)


async def danced(sight: Sight, before: int) -> None:
    """Wait until a dance that was asked for is over and has moved something."""
    while (await sight.placement()).dance_wanted or await dances(sight) <= before:
        await asyncio.sleep(_LOOK_S)
