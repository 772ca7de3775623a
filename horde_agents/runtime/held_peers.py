"""Refused peers that are held for a while, because many come back at once; how many, is bounded."""

import asyncio
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

#: Seconds a refused peer is held.
HOLD_S: Final = 5.0
#: Held of one peer, and in all; when very many are held in all, one of each is the most.
_MOST_EACH: Final = 8
_MOST: Final = 256


@dataclass(slots=True)
class HeldPeers:
    """A peer counts as held for the whole time, even if it leaves."""

    _held: Counter[Hashable] = field(default_factory=Counter)

    def has_room(self, peer: Hashable) -> bool:
        """Whether one more of ``peer`` may be held; a peer that was not refused always has room."""
        return self._held.get(peer, 0) < (_MOST_EACH if self._held.total() < _MOST else 1)

    def is_new(self, peer: Hashable) -> bool:
        """Whether ``peer`` was not refused lately."""
        return peer not in self._held

    def add(self, peer: Hashable) -> None:
        """``peer`` was refused."""
        self._held[peer] += 1
        asyncio.get_running_loop().call_later(HOLD_S, self._let_go, peer)

    def _let_go(self, peer: Hashable) -> None:
        self._held[peer] -= 1
        if not self._held[peer]:
            del self._held[peer]
