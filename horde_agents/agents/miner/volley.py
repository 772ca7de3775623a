"""Hands the payloads of a batch to their executors together, however they trickle in from the validator.

A validator writes all payloads of a batch at one instant; reading and checking hundreds of them takes longer
than writing them. So those of synthetic jobs are held until none has come for a moment, and are then
written one right after another. Users' jobs wait for nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.supervisor import Spawn

#: Seconds without a further payload after which the held ones go out.
_QUIET_S: Final = 0.02
#: Seconds that a payload is held at most.
_MOST_S: Final = 0.25


@dataclass(slots=True)
class Volley:
    """What is held now; each entry writes one payload to its executor."""

    spawn: Spawn
    _held: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def add(self, write: Callable[[], Awaitable[None]]) -> None:
        """Have ``write`` called with the others."""
        self._held.append(write)
        if len(self._held) == 1:
            self.spawn("volley", self._let_go())

    async def _let_go(self) -> None:
        until_s, count = monotonic_s() + _MOST_S, 0
        while count < len(self._held) and monotonic_s() < until_s:
            count = len(self._held)
            await asyncio.sleep(_QUIET_S)
        held, self._held = self._held, []
        for write in held:
            await write()
