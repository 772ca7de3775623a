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

#: Ends that are kept beyond two for each open attempt, before those that no longer count are thrown away.
_SPARE_ENDS: Final = 1000
#: How long an attempt that has run out is remembered, for a receipt of it that comes late.
_KEPT_FOR: Final = timedelta(hours=1)


@dataclass(slots=True)
class _Held:
    """One attempt: its class once known, and until when its receipts say that it runs.

    ``looked_at`` is when it is looked at again; other ends of it do not count any more.
    """

    executor_class: str = ""
    offered_until: datetime | None = None
    runs_until: datetime | None = None
    is_counted: bool = False
    looked_at: datetime | None = None

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
    _attempts: int = 0

    def note(self, payload: Payload) -> None:
        """Take a receipt into account; a finished one frees its executor."""
        if isinstance(payload, JobFinished):
            self.free(payload.miner_hotkey, payload.job_uuid)
        elif isinstance(payload, JobStarted | JobAccepted):
            self._note_running(payload)

    def _note_running(self, payload: JobStarted | JobAccepted) -> None:
        attempts = self._open[payload.miner_hotkey]
        held = attempts.get(payload.job_uuid)
        if held is None:
            held = attempts[payload.job_uuid] = _Held()
            self._attempts += 1
        known_until, until = held.until, payload.timestamp + timedelta(seconds=payload.ttl)
        if isinstance(payload, JobStarted):
            if payload.executor_class != held.executor_class:
                self._uncount(payload.miner_hotkey, held)
            held.executor_class, held.offered_until = payload.executor_class, until
        else:
            held.runs_until = until
        self._count(payload, held, is_news=held.until != known_until)

    def free(self, miner_hotkey: str, attempt_uuid: str) -> None:
        """The attempt is over, whether or not a receipt says so."""
        attempts = self._open.get(miner_hotkey, {})
        held = attempts.pop(attempt_uuid, None)
        if held is None:
            return
        self._attempts -= 1
        if not attempts:
            del self._open[miner_hotkey]
        self._uncount(miner_hotkey, held)

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
        if held.until is None or not (is_news or (held.executor_class and not held.is_counted)):
            return  # a page may repeat one receipt without end: only what changes something is kept
        if held.executor_class and not held.is_counted:
            held.is_counted = True
            self._counts[held.executor_class][payload.miner_hotkey] += 1
        self._look_at(held.until, held, payload.miner_hotkey, payload.job_uuid)

    def _uncount(self, miner_hotkey: str, held: _Held) -> None:
        if not held.is_counted:
            return
        held.is_counted = False
        counts = self._counts[held.executor_class]
        counts[miner_hotkey] -= 1
        if not counts[miner_hotkey]:
            del counts[miner_hotkey]
        if not counts:
            del self._counts[held.executor_class]

    def _look_at(self, at: datetime, held: _Held, miner_hotkey: str, uuid: str) -> None:
        held.looked_at = at
        heapq.heappush(self._ends, (at, miner_hotkey, uuid))
        if len(self._ends) > 2 * self._attempts + _SPARE_ENDS:
            self._ends = [end for end in self._ends if self._counting(end) is not None]
            heapq.heapify(self._ends)

    def _counting(self, end: tuple[datetime, str, str]) -> _Held | None:
        """The attempt that an end is of, unless it is over or another end has taken its place."""
        held = self._open.get(end[1], {}).get(end[2])
        return held if held is not None and held.looked_at == end[0] else None

    def _expire(self, now: datetime) -> None:
        while self._ends and self._ends[0][0] < now:
            end = heapq.heappop(self._ends)
            held = self._counting(end)
            if held is None:
                continue
            at, hotkey, uuid = end
            if held.is_counted:
                self._uncount(hotkey, held)
                self._look_at(at + _KEPT_FOR, held, hotkey, uuid)
            else:
                self.free(hotkey, uuid)

    def _is(self, hotkey: str, uuid: str, executor_class: str) -> bool:
        held = self._open.get(hotkey, {}).get(uuid)
        return held is not None and held.is_counted and held.executor_class == executor_class
