"""What the miner last read on the chain, and what validators said of themselves; kept in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class ChainFacts:
    """``uid`` and ``block_number`` are none until the chain was read; stakes are in rao, by hotkey."""

    uid: int | None = None
    block_number: int | None = None
    validator_stakes: Mapping[str, int] = field(default_factory=dict)
    rewards_moved_slots: dict[str, bool] = field(default_factory=dict)

    def cycle(self, cycle_blocks: int) -> int | None:
        """The present cycle."""
        return None if self.block_number is None else self.block_number // cycle_blocks

    def validators_reward_moved_slots(self) -> bool:
        """Whether those that do have more stake than those that do not, among the validators that came.

        Stock validators punish a UID whose count falls and reward a changed main hotkey (wire note G);
        a miner that has heard nobody stays with what they like.
        """
        stake = {True: 0, False: 0}
        for hotkey, rewards in self.rewards_moved_slots.items():
            stake[rewards] += self.validator_stakes.get(hotkey, 1)
        return stake[True] > stake[False]
