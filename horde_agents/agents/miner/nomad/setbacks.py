"""Holders that fail as soon as they start are not replaced at once: their place waits longer and longer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from horde_agents.placement.holders import Dispatch, Holder
from horde_agents.placement.standings import Standing

_FIRST_S: Final = 1.0
_LONGEST_S: Final = 60.0
#: A holder that has lived as long has not failed at its start.
_GOOD_LIFE_S: Final = 120.0


@dataclass(slots=True)
class _Place:
    generation: int
    failures: int
    not_before_s: float
    seen_s: float


@dataclass(slots=True)
class Setbacks:
    """What is known of failures by class and index; ``now_s`` is a clock that only goes forward."""

    _places: dict[tuple[str, int], _Place] = field(default_factory=dict)

    def note(self, holders: Iterable[Holder], now_s: float) -> list[Holder]:
        """Take down who has failed; returns those of whom that was not known."""
        fresh = []
        for holder in holders:
            if holder.standing is Standing.FAILED and self._is_news(holder):
                self._take_down(holder, now_s)
                fresh.append(holder)
        return fresh

    def due(self, dispatches: Iterable[Dispatch], now_s: float) -> list[Dispatch]:
        """Those whose place need not wait any longer."""
        return [dispatch for dispatch in dispatches if self._not_before_s(dispatch) <= now_s]

    def next_due_s(self, dispatches: Iterable[Dispatch], now_s: float, longest_s: float) -> float:
        """Seconds until the first of those that have to wait is due; ``longest_s`` at most."""
        waits = [self._not_before_s(dispatch) - now_s for dispatch in dispatches]
        return min([longest_s, *(wait_s for wait_s in waits if wait_s > 0)])

    def _is_news(self, holder: Holder) -> bool:
        place = self._places.get((holder.executor_class, holder.index))
        return place is None or place.generation < holder.generation

    def _take_down(self, holder: Holder, now_s: float) -> None:
        key = holder.executor_class, holder.index
        before = self._places.get(key)
        failures = before.failures + 1 if before and now_s - before.seen_s < _GOOD_LIFE_S else 1
        # the first failure of a place is mended at once: a slot shall not wait because a node was restarted
        wait_s = 0.0 if failures == 1 else min(_LONGEST_S, _FIRST_S * 2 ** (failures - 2))
        self._places[key] = _Place(holder.generation, failures, now_s + wait_s, now_s)

    def _not_before_s(self, dispatch: Dispatch) -> float:
        place = self._places.get((dispatch.executor_class, dispatch.index))
        return place.not_before_s if place else 0.0
