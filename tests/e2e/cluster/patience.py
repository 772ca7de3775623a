"""Waiting for what a story expects; one that waits in vain says for what, and what it saw last."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from horde_agents.clients.cluster_http import ServerAway
from horde_agents.placement.coordination import CoordinationAway

Seen = TypeVar("Seen")
_LOOK_S = 0.2
#: Only against a hang: several times what the slowest part of a story takes on a busy machine.
_PATIENCE_S = 200.0


async def until(what: str, look: Callable[[], Awaitable[Seen]], holds: Callable[[Seen], bool]) -> Seen:
    """Look again and again until what is seen ``holds``; servers that are away are asked again."""
    seen: object = "nothing yet"
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    seen = found = await look()
                    if holds(found):
                        return found
                except (CoordinationAway, ServerAway, OSError) as error:
                    seen = repr(error)
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise AssertionError(f"{what}: not so after {_PATIENCE_S} s; last seen: {seen}") from None
