"""How often one reader may ask: so many requests at once, filled up again over a minute."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from horde_agents.agents.validator.api.refusals import ApiRefused
from horde_agents.runtime.clock import monotonic_s

_MINUTE_S: Final = 60.0
_MOST_PEERS: Final = 10_000


@dataclass(slots=True)
class Pace:
    """What each peer has left; a peer that is forgotten, because very many came, starts afresh."""

    per_minute: int
    now_s: Callable[[], float] = monotonic_s
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, peer: str) -> None:
        """One request of ``peer``.

        Raises:
            ApiRefused: it has none left; the answer says when it has.
        """
        now_s = self.now_s()
        left, at_s = self._left.pop(peer, (float(self.per_minute), now_s))
        left = min(self.per_minute, left + (now_s - at_s) * self.per_minute / _MINUTE_S)
        if len(self._left) >= _MOST_PEERS:
            del self._left[next(iter(self._left))]
        if left < 1:
            self._left[peer] = (left, now_s)
            wait_s = int((1 - left) * _MINUTE_S / self.per_minute) + 1
            raise ApiRefused(
                "peer.slow_down", f"More than {self.per_minute} requests a minute; wait {wait_s} s.", wait_s
            )
        self._left[peer] = (left - 1, now_s)
