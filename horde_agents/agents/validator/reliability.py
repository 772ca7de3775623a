"""How far each miner can be relied on, by its own incidents at this validator; old ones fade.

What counts is what the horde did wrong: faults, silence, lost executors, unfair declines. A user's command
that fails is nobody's incident, and a miner that nobody can reach gains nothing by it (wire note J 20).
"""

import math
from dataclasses import dataclass, field
from typing import Final

#: Attempts without a fault that every miner is credited with, so that one fault is not the end.
_CREDIT: Final = 4.0
#: How much a decline without an excuse weighs against a fault.
DECLINE_WEIGHT: Final = 0.25
_LEAST: Final = 0.001
#: Part of a half-life in which nothing fades: every routing decision asks for every miner.
_UNNOTICED: Final = 0.001


@dataclass(slots=True)
class _Record:
    tries: float = 0.0
    faults: float = 0.0
    at_s: float = 0.0

    def fade(self, at_s: float, half_life_s: float) -> None:
        if 0 <= at_s - self.at_s < half_life_s * _UNNOTICED:
            return
        factor = _half(at_s - self.at_s, half_life_s)
        self.tries *= factor
        self.faults *= factor
        self.at_s = max(at_s, self.at_s)


@dataclass(slots=True)
class Reliability:
    """Attempts and incidents by miner; instants are Unix seconds and come in any order."""

    half_life_s: float
    _of: dict[str, _Record] = field(default_factory=dict)

    def tried(self, miner_hotkey: str, at_s: float) -> None:
        """An attempt has ended, however."""
        self._record(miner_hotkey, at_s).tries += self._faded(miner_hotkey, at_s)

    def incident(self, miner_hotkey: str, at_s: float, weight: float = 1.0) -> None:
        """The miner was at fault; ``weight`` is 1 for a whole attempt lost."""
        self._record(miner_hotkey, at_s).faults += weight * self._faded(miner_hotkey, at_s)

    def factor(self, miner_hotkey: str, at_s: float) -> float:
        """From just above 0 to 1: the part of its attempts that went well, squared."""
        record = self._of.get(miner_hotkey)
        if record is None:
            return 1.0
        record.fade(at_s, self.half_life_s)
        share = min(record.faults / (max(record.tries, record.faults) + _CREDIT), 1.0)
        return max((1.0 - share) ** 2, _LEAST)

    def factors(self, at_s: float) -> dict[str, float]:
        """The factor of every miner that was ever tried."""
        return {hotkey: self.factor(hotkey, at_s) for hotkey in self._of}

    def _record(self, miner_hotkey: str, at_s: float) -> _Record:
        record = self._of.setdefault(miner_hotkey, _Record(at_s=at_s))
        record.fade(at_s, self.half_life_s)
        return record

    def _faded(self, miner_hotkey: str, at_s: float) -> float:
        """What an event at ``at_s`` weighs where the record has gone on already."""
        return _half(self._of[miner_hotkey].at_s - at_s, self.half_life_s)


def _half(age_s: float, half_life_s: float) -> float:
    return math.pow(0.5, max(age_s, 0.0) / half_life_s)
