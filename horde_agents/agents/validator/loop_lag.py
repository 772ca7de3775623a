"""By how much this process's event loop is late, so that its own slowness is not taken for others'."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from horde_agents.runtime.clock import monotonic_s

_TICK_S: Final = 0.1


@dataclass(slots=True)
class LoopLag:
    """The longest delay seen while watched."""

    most_s: float = 0.0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch while the block lasts."""
        ticking = asyncio.create_task(self._tick(), name="loop lag")
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])

    async def _tick(self) -> None:
        while True:
            due_s = monotonic_s() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self.most_s = max(self.most_s, monotonic_s() - due_s)
