"""Which attempts occupy which miners now, by their receipts; in memory, rebuilt on start.

Counts are kept as receipts come and run out, so that asking costs the same with ten thousand jobs open.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from horde_agents.receipts.payloads import JobAccepted, JobFinished, JobStarted, Payload

#: How long an attempt that has run out is remembered, for a receipt of it that comes late.
_KEPT_FOR: Final = timedelta(hours=1)


@dataclass(slots=True)
class _Held:
    """One attempt: its class once known, and until when its receipts say that it runs."""

    executor_class: str = ""
    offered_until: datetime | None = None
    runs_until: datetime | None = None
    is_counted: bool = False

    @property
    def until(self) -> datetime | None:
        both = [at for at in (self.offered_until, self.runs_until) if at is not None]
        return max(both, default=None)


@dataclass(slots=True)
class Occupancy:
    """Attempts that are not over, by miner and uuid."""

    _open: dict[str, dict[str, _Held]] = field(default_factory=lambda: defaultdict(dict))
    _counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _ends: list[tuple[datetime, str, str]] = field(default_factory=list)

    def note(self, payload: Payload) -> None:
        """Take a receipt into account; a finished one frees its executor."""
        if isinstance(payload, JobFinished):
            self.free(payload.miner_hotkey, payload.job_uuid)
        elif isinstance(payload, JobStarted | JobAccepted):
            self._note_running(payload)

    def _note_running(self, payload: JobStarted | JobAccepted) -> None:
        held = self._open[payload.miner_hotkey].setdefault(payload.job_uuid, _Held())
        known_until, until = held.until, payload.timestamp + timedelta(seconds=payload.ttl)
        if isinstance(payload, JobStarted):
            held.executor_class, held.offered_until = payload.executor_class, until
        else:
            held.runs_until = until
        self._count(payload, held, is_news=held.until != known_until)

    def free(self, miner_hotkey: str, attempt_uuid: str) -> None:
        """The attempt is over, whether or not a receipt says so."""
        held = self._open.get(miner_hotkey, {}).pop(attempt_uuid, None)
        if held is not None and held.is_counted:
            self._counts[held.executor_class][miner_hotkey] -= 1

    def counts(self, executor_class: str, now: datetime) -> Mapping[str, int]:
        """Occupied executors of the class by miner; one that is missing has none."""
        self._expire(now)
        return self._counts.get(executor_class, Counter())

    def busy(
        self, miners: Iterable[str], executor_class: str, now: datetime, *, without: str = ""
    ) -> dict[str, int]:
        """Occupied executors of the class by miner, the attempt ``without`` left out."""
        counts = self.counts(executor_class, now)
        return {
            hotkey: counts.get(hotkey, 0) - self._is(hotkey, without, executor_class) for hotkey in miners
        }

    def earliest_end(self, miners: Iterable[str], classes: Iterable[str]) -> datetime | None:
        """When the first executor of one of the classes is free again at the latest, by the receipts."""
        wanted = frozenset(classes)
        ends = (
            held.until
            for hotkey in miners
            for held in self._open.get(hotkey, {}).values()
            if held.is_counted and held.executor_class in wanted
        )
        return min((end for end in ends if end is not None), default=None)

    def _count(self, payload: Payload, held: _Held, *, is_news: bool) -> None:
        if not held.executor_class or held.until is None or (held.is_counted and not is_news):
            return  # a page may repeat one receipt without end: only what changes something is kept
        if not held.is_counted:
            held.is_counted = True
            self._counts[held.executor_class][payload.miner_hotkey] += 1
        heapq.heappush(self._ends, (held.until, payload.miner_hotkey, payload.job_uuid))

    def _expire(self, now: datetime) -> None:
        while self._ends and self._ends[0][0] < now:
            at, hotkey, uuid = heapq.heappop(self._ends)
            held = self._open.get(hotkey, {}).get(uuid)
            if held is None or held.until is None or held.until > at:  # over, or there is a later entry
                continue
            if held.is_counted:
                held.is_counted = False
                self._counts[held.executor_class][hotkey] -= 1
                heapq.heappush(self._ends, (at + _KEPT_FOR, hotkey, uuid))
            else:
                self.free(hotkey, uuid)

    def _is(self, hotkey: str, uuid: str, executor_class: str) -> bool:
        held = self._open.get(hotkey, {}).get(uuid)
        return held is not None and held.is_counted and held.executor_class == executor_class
