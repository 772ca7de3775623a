"""Cycles: the accounting periods, and which validator sends its batch in which part of one. Pure.

A cycle is arithmetic over block numbers and predicts nothing of the chain's own epochs.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Two epochs of the original subnet.
CYCLE_BLOCKS: Final = 722
#: Validators with the most stake, which have a seat in every cycle.
TOP_SEATS: Final = 24
#: Further seats, which all other validators share in rotation.
ROTATING_SEATS: Final = 2
#: Blocks by which the seed lies before the cycle: deep enough not to change any more.
SEED_DEPTH_BLOCKS: Final = 3
#: A cycle begins with this part of it in which nobody sends a batch.
_LEAD_PART: Final = 30


@dataclass(frozen=True, slots=True, order=True)
class Cycle:
    """Blocks ``first_block`` up to but excluding ``end_block``."""

    number: int
    first_block: int
    length_blocks: int

    @property
    def end_block(self) -> int:
        """The first block of the next cycle."""
        return self.first_block + self.length_blocks

    @property
    def seed_block(self) -> int:
        """The block whose hash decides the order of the seats."""
        return max(self.first_block - SEED_DEPTH_BLOCKS, 0)

    def has(self, block: int) -> bool:
        """Whether the block lies in this cycle."""
        return self.first_block <= block < self.end_block


@dataclass(frozen=True, slots=True)
class Seat:
    """The part of a cycle that is one validator's: ``first_block`` up to but excluding ``end_block``."""

    hotkey: str
    first_block: int
    end_block: int


def cycle_at(number: int, netuid: int, length_blocks: int = CYCLE_BLOCKS) -> Cycle:
    """The cycle of this number; with netuid 12, cycle k begins at block 722 k - 14."""
    if length_blocks <= 0:
        raise ValueError(f"a cycle of {length_blocks} blocks; set cycle_blocks to 1 or more")
    return Cycle(number, length_blocks * number - (netuid + 2) % length_blocks, length_blocks)


def cycle_of(block: int, netuid: int, length_blocks: int = CYCLE_BLOCKS) -> Cycle:
    """The cycle in which a block lies; the one that begins a cycle belongs to it."""
    if length_blocks <= 0:
        raise ValueError(f"a cycle of {length_blocks} blocks; set cycle_blocks to 1 or more")
    return cycle_at((block + (netuid + 2) % length_blocks) // length_blocks, netuid, length_blocks)


def seats(cycle: Cycle, stake_rao: Mapping[str, int], seed: bytes) -> tuple[Seat, ...]:
    """The seats of a cycle, in their order; every validator that sees the same chain finds the same.

    ``stake_rao`` has the validators with a permit at the cycle's first block, ``seed`` is the hash of
    ``cycle.seed_block``. The order is that of SHA-256 over seed and hotkey: no library's shuffle to agree on.
    """
    seated = sorted(
        _seated(cycle.number, stake_rao), key=lambda key: hashlib.sha256(seed + key.encode()).digest()
    )
    lead_blocks = cycle.length_blocks // _LEAD_PART
    begin, usable = cycle.first_block + lead_blocks, cycle.length_blocks - lead_blocks
    edges = [begin + usable * index // len(seated) for index in range(len(seated) + 1)] if seated else []
    return tuple(
        Seat(hotkey, first, end) for hotkey, first, end in zip(seated, edges, edges[1:], strict=False)
    )


def _seated(number: int, stake_rao: Mapping[str, int]) -> list[str]:
    """The richest, and as many of the others as share the rotating seats of this cycle."""
    ranked = sorted(stake_rao, key=lambda hotkey: (-stake_rao[hotkey], hotkey))
    others = ranked[TOP_SEATS:]
    turns = min(ROTATING_SEATS, len(others))
    return ranked[:TOP_SEATS] + [others[(number * turns + turn) % len(others)] for turn in range(turns)]
