"""What miners announce to cost (extension ``prices/1``), read with distrust. Pure but for its memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from horde_agents.jobs.classes import CATALOGUE

#: A price above this is no price: a million times the dearest class that comes with Horde.
MOST_PRICE_MICRO: Final = 10**14
_MOST_CLASSES: Final = 1024


@dataclass(slots=True)
class Prices:
    """The newest announced prices, in millionths of a weight and second, by class, by miner."""

    _of: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def note(self, miner_hotkey: str, announced: object) -> None:
        """Take over an announcement; none takes the miner's prices away."""
        prices = sane_prices(announced)
        if prices:
            self._of[miner_hotkey] = prices
        else:
            self._of.pop(miner_hotkey, None)

    def all(self) -> Mapping[str, Mapping[str, int]]:
        """By class, by miner."""
        return self._of


def sane_prices(announced: object) -> dict[str, int]:
    """The part of an announcement that can be meant: known classes, whole numbers above nothing."""
    if not isinstance(announced, Mapping) or len(announced) > _MOST_CLASSES:
        return {}
    return {
        name: price
        for name, price in announced.items()
        if isinstance(name, str)
        and name in CATALOGUE
        and type(price) is int
        and 0 < price <= MOST_PRICE_MICRO
    }
