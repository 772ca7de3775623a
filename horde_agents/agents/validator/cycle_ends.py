"""At the end of each cycle: score it, and hand its weights over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from horde_agents.agents.validator.cycle_clock import CycleClock
from horde_agents.agents.validator.scoring_round import ScoringRound
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.result import Result

#: Blocks into the next cycle before one is scored: its last verdicts are in by then.
_MARGIN_PART: Final = 20


@dataclass(slots=True)
class CycleEnds:
    """The loop; a cycle that an earlier process scored is handed over again, which changes nothing."""

    clock: CycleClock
    scoring: ScoringRound
    configuration: Callable[[], Configuration]
    hand_over: Callable[[Result], Awaitable[None]]

    async def serve(self) -> NoReturn:
        """Wait for one cycle's end after another."""
        await self.clock.until_block(0)
        ended = self.clock.cycle_number() - 1
        while True:
            cycle = self.clock.at(ended)
            margin = max(cycle.length_blocks // _MARGIN_PART, 1)
            await self.clock.until_block(cycle.end_block + margin)
            while not await self._ended(ended) and self.clock.cycle_number() == ended + 1:
                await self.clock.until_block((self.clock.block() or 0) + margin)
            ended += 1

    async def _ended(self, cycle: int) -> bool:
        """Whether the cycle could be scored; what it hangs on may still come while the next one lasts."""
        result = await self.scoring.score(cycle, self.configuration())
        if result is None:
            return False
        await self.hand_over(result)
        return True
