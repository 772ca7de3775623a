"""How long a batch takes before and after its instant, by the settings and by what its kinds need. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.agents.validator.synthetic.kinds import SyntheticKind, kinds_apart
from horde_agents.agents.validator.synthetic.plan import Pace
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.scoring.cycles import Seat

#: Seconds for connections, signatures and judging.
_SPARE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one validator's batches; ``kinds`` by executor class."""

    settings: ValidatorSettings
    kinds: Mapping[str, SyntheticKind]
    block_s: float

    @property
    def pace(self) -> Pace:
        """Blocks before and after the instant."""
        before_s = self.settings.synthetic_prepare_s + self._making_s + self._ready_s + _SPARE_S
        after_s = self._running_s + _SPARE_S
        # rounded down: what is made in part of a block may reach into the seat
        making_blocks = int(self._making_s // self.block_s)
        return Pace(math.ceil(before_s / self.block_s), math.ceil(after_s / self.block_s), making_blocks)

    @property
    def staging_blocks(self) -> int:
        """Blocks before the instant at which the offers go out."""
        return math.ceil((self._ready_s + _SPARE_S) / self.block_s)

    @property
    def job_s(self) -> float:
        """Seconds for which a synthetic job may occupy its executor."""
        return self._ready_s + self._running_s

    def why_never(self, cycle_blocks: int) -> str | None:
        """Why no batch could ever run, if so."""
        if not self.kinds or self.pace.whole_blocks <= cycle_blocks:
            return None
        return f"cycle_blocks is {cycle_blocks}, and {self._how_long()}."

    def why_not_in(self, seat: Seat) -> str:
        """Why there is no instant for a batch in a seat, or in what is left of it."""
        blocks = seat.end_block - seat.first_block
        if blocks >= self.pace.seat_blocks:
            return "what is left of its seat is too short for a batch: the next cycle has another"
        return f"its seat has {blocks} blocks, and {self._how_long()}"

    @property
    def _making_s(self) -> float:
        """Kinds make their tasks one after another."""
        return sum(kind.needs(names).prepare_s for kind, names in kinds_apart(self.kinds))

    @property
    def _ready_s(self) -> float:
        spin_ups_s = [CATALOGUE[name].spin_up_s + self.settings.startup_s for name in self.kinds]
        return max(spin_ups_s, default=0.0)

    @property
    def _running_s(self) -> float:
        needs = [kind.needs(names) for kind, names in kinds_apart(self.kinds)]
        return max([self.settings.synthetic_running_s, *(need.running_s for need in needs)])

    def _how_long(self) -> str:
        pace, settings = self.pace, self.settings
        return (
            f"a batch takes {pace.before_blocks} blocks before its instant and {pace.after_blocks} after it: "
            f"lower prompts_running_s ({settings.prompts_running_s} s, where a kind is llm_prompts), "
            f"synthetic_prepare_s ({settings.synthetic_prepare_s:g} s) "
            f"or synthetic_running_s ({settings.synthetic_running_s:g} s)"
        )
