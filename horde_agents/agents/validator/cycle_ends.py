"""At the end of each cycle: score it, and hand its weights over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from horde_agents.agents.validator.cycle_clock import CycleClock
from horde_agents.clients.chain import ChainFault
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.weights import Result

#: Blocks into the next cycle before one is scored: its last verdicts are in by then.
_MARGIN_PART: Final = 20

_log = get_logger(__name__)


@dataclass(slots=True)
class CycleEnds:
    """The loop; a cycle that an earlier process scored is handed over again, which changes nothing."""

    clock: CycleClock
    score: Callable[[int], Awaitable[Result | None]]
    hand_over: Callable[[Result], Awaitable[None]]

    async def serve(self) -> NoReturn:
        """Wait for one cycle's end after another."""
        await self.clock.until_block(0)
        ended = self.clock.cycle_number() - 1
        while True:
            cycle = self.clock.at(ended)
            margin = max(cycle.length_blocks // _MARGIN_PART, 1)
            await self.clock.until_block(cycle.end_block + margin)
            if await self._end(ended):
                ended += 1

    async def _end(self, cycle: int) -> bool:
        try:
            result = await self.score(cycle)
        except ChainFault as error:
            _log.warning("scoring waits for the chain", cycle=cycle, why=str(error))
            await self.clock.until_block((self.clock.block() or 0) + 1)
            return False
        if result is not None:
            _log.info("cycle scored", cycle=cycle, miners=len(result.weights))
            await self.hand_over(result)
        return True
