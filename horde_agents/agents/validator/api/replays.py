"""Signed requests that were taken already, for as long as they would be taken again; bounded."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from horde_agents.protocol.btauth import AHEAD_NS, BACK_NS, AuthWrong

#: Requests of one hotkey, and of all, that are remembered at one time; further ones have to wait.
MOST_EACH: Final = 1_000
MOST: Final = 50_000


@dataclass(slots=True)
class Replays:
    """Nonces by hotkey. A signature stays good for ``BACK_NS`` after its nonce, at most 12 s from now."""

    _seen: set[tuple[str, int]] = field(default_factory=set)
    _order: deque[tuple[int, str, int]] = field(default_factory=deque)
    _each: Counter[str] = field(default_factory=Counter)

    def check(self, hotkey: str, nonce_ns: int, now_ns: int) -> None:
        """Note a request whose signature is right.

        Raises:
            AuthWrong: it came before, or too many of its hotkey's, or of all, are remembered.
        """
        self._forget(now_ns)
        if (hotkey, nonce_ns) in self._seen:
            raise AuthWrong(
                "auth.replayed", f"Nonce {nonce_ns} of {hotkey} was used; sign each request anew."
            )
        if self._each[hotkey] >= MOST_EACH or len(self._seen) >= MOST:
            raise AuthWrong("peer.slow_down", f"{hotkey} has sent too many signed requests; wait a little.")
        self._seen.add((hotkey, nonce_ns))
        self._each[hotkey] += 1
        self._order.append((now_ns + BACK_NS + AHEAD_NS, hotkey, nonce_ns))

    def _forget(self, now_ns: int) -> None:
        while self._order and self._order[0][0] < now_ns:
            _, hotkey, nonce_ns = self._order.popleft()
            self._seen.discard((hotkey, nonce_ns))
            self._each[hotkey] -= 1
            if not self._each[hotkey]:
                del self._each[hotkey]
