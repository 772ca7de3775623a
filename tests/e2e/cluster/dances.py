"""Dances that an operator asks for."""

from horde_agents.placement.coordination import Put
from horde_agents.placement.records import read_moves
from tests.e2e.cluster.patience import until
from tests.e2e.cluster.sight import KEYS, Sight


async def ask_for_a_dance(sight: Sight) -> None:
    """As ``horde placement dance`` does."""
    await sight.consul.commit([Put(KEYS.dance, "now", None)])


async def dances(sight: Sight) -> int:
    """How many slots have moved in dances so far."""
    history = read_moves(await sight.consul.snapshot(KEYS.history))
    return sum(len(record.moves) for record in history if "dance" in record.why)


async def danced(sight: Sight, before: int) -> None:
    """Wait until a dance that was asked for is over and has moved something."""

    async def look() -> tuple[object, int]:
        return (await sight.placement()).dance_wanted, await dances(sight)

    await until("a dance has moved slots", look, lambda seen: not seen[0] and seen[1] > before)
