"""Cycles of blocks and the seats of validators in them: who tests miners when.

Arithmetic only. The instant inside a seat is drawn in private by ``agents/validator``. The permutation
hangs on SHA-256 alone, so that it needs no generator of any language or library (docs/scoring.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

#: Two epochs of the original subnet.
DEFAULT_LENGTH_BLOCKS: Final = 722
#: Seats for those with the most stake, in every cycle, and for all others in turn.
TOP_SEATS: Final = 24
TURN_SEATS: Final = 4
#: The lead, part of a cycle in which no batch fires: 24 of 722 blocks.
_LEAD_DIVISOR: Final = 30
#: Blocks before a cycle whose hash seeds its seats: it is final when the cycle starts.
_SEED_DEPTH_BLOCKS: Final = 3
_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True, order=True)
class Cycle:
    """Blocks ``first_block`` up to, without, ``end_block``."""

    number: int
    first_block: int
    length_blocks: int

    @property
    def end_block(self) -> int:
        """The first block of the next cycle."""
        return self.first_block + self.length_blocks

    @property
    def seed_block(self) -> int:
        """The block whose hash seeds the seats; the first cycle of a chain takes its block 0."""
        return max(self.first_block - _SEED_DEPTH_BLOCKS, 0)

    @property
    def next(self) -> "Cycle":
        """The cycle after this one."""
        return Cycle(self.number + 1, self.end_block, self.length_blocks)

    @property
    def previous(self) -> "Cycle":
        """The cycle before this one."""
        return Cycle(self.number - 1, self.first_block - self.length_blocks, self.length_blocks)

    def holds(self, block_number: int) -> bool:
        """Whether the block belongs to the cycle; the block that starts it does."""
        return self.first_block <= block_number < self.end_block


@dataclass(frozen=True, slots=True)
class Seat:
    """Blocks of a cycle, ``first_block`` up to, without, ``end_block``, in which one validator tests."""

    hotkey: str
    first_block: int
    end_block: int


def cycle_of(block_number: int, netuid: int, length_blocks: int = DEFAULT_LENGTH_BLOCKS) -> Cycle:
    """The cycle that a block belongs to."""
    return cycle_number(
        (block_number + _offset_blocks(netuid, length_blocks)) // length_blocks, netuid, length_blocks
    )


def cycle_number(number: int, netuid: int, length_blocks: int = DEFAULT_LENGTH_BLOCKS) -> Cycle:
    """The cycle with this number."""
    first_block = length_blocks * number - _offset_blocks(netuid, length_blocks)
    return Cycle(number, first_block, length_blocks)


def seats(stakes_rao: Mapping[str, int], seed_block_hash: str, cycle: Cycle) -> tuple[Seat, ...]:
    """The seats of a cycle in the order of their blocks, the same at every validator.

    ``stakes_rao`` has every validator (permit and stake as of the cycle's start) by hotkey;
    ``seed_block_hash`` is the hash of ``cycle.seed_block``, hexadecimal. Seats do not overlap and leave
    out the lead. A cycle with fewer usable blocks than validators seats as many as it has blocks.

    Raises:
        ValueError: the hash is none.
    """
    seed = _hash_bytes(seed_block_hash) + cycle.number.to_bytes(8, "big", signed=True)
    lead_blocks = cycle.length_blocks // _LEAD_DIVISOR
    usable_blocks = cycle.length_blocks - lead_blocks
    seated = _seated(stakes_rao, cycle.number)[:usable_blocks]
    order = sorted(seated, key=lambda hotkey: (sha256(seed + hotkey.encode()).digest(), hotkey))
    start, many = cycle.first_block + lead_blocks, len(order)
    return tuple(
        Seat(hotkey, start + index * usable_blocks // many, start + (index + 1) * usable_blocks // many)
        for index, hotkey in enumerate(order)
    )


def _offset_blocks(netuid: int, length_blocks: int) -> int:
    """Blocks by which the cycle of number 0 starts before block 0."""
    return (netuid + 2) % length_blocks


def _seated(stakes_rao: Mapping[str, int], number: int) -> Sequence[str]:
    """The top by stake, then those whose turn it is: by hotkey, so that stake moves nobody in the queue."""
    by_stake = sorted(stakes_rao, key=lambda hotkey: (-stakes_rao[hotkey], hotkey))
    others = sorted(by_stake[TOP_SEATS:])
    turns = min(TURN_SEATS, len(others))
    in_turn = [others[(number * TURN_SEATS + index) % len(others)] for index in range(turns)]
    return [*by_stake[:TOP_SEATS], *in_turn]


def _hash_bytes(text: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise ValueError(f"{text!r:.80} is no block hash; it must be hexadecimal") from error
    if len(value) != _HASH_BYTES:
        raise ValueError(f"{text!r:.80} is no block hash; it must have {_HASH_BYTES} bytes")
    return value
