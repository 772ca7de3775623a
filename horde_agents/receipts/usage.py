"""How many slot-seconds each validator has had of a capacity lately, by leases or by receipts. Pure.

An attempt that ended in the window counts with its whole length, an open one with what it has had so far; so
whoever has the receipts comes to the same sum as the miner by its leases.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from horde_agents.receipts.payloads import JobAccepted, JobFinished, JobStarted, Payload


@dataclass(slots=True)
class UsageWindow:
    """Slot-seconds in the last ``window_s``; instants are Unix seconds."""

    window_s: float
    _began: dict[str, tuple[str, float]] = field(default_factory=dict)
    _open: dict[str, tuple[int, float]] = field(default_factory=dict)
    _ended: deque[tuple[float, float, str]] = field(default_factory=deque)
    _sum_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def began(self, attempt_uuid: str, holder: str, at_s: float) -> None:
        """``holder`` has one slot more from now on."""
        if attempt_uuid not in self._began:
            self._began[attempt_uuid] = (holder, at_s)
            count, sum_s = self._open.get(holder, (0, 0.0))
            self._open[holder] = (count + 1, sum_s + at_s)

    def ended(self, attempt_uuid: str, at_s: float) -> None:
        """The slot is given back."""
        if (known := self._began.pop(attempt_uuid, None)) is not None:
            holder, began_s = known
            count, sum_s = self._open[holder]
            self._open[holder] = (count - 1, sum_s - began_s)
            took_s = min(max(at_s - began_s, 0.0), self.window_s)
            self._ended.append((at_s, took_s, holder))
            self._sum_s[holder] += took_s

    def usage_s(self, at_s: float) -> dict[str, int]:
        """Whole slot-seconds by holder, those left out that had none."""
        while self._ended and self._ended[0][0] < at_s - self.window_s:
            _, took_s, holder = self._ended.popleft()
            self._sum_s[holder] -= took_s
        total_s = dict(self._sum_s)
        for holder, (count, sum_s) in self._open.items():
            so_far_s = min(max(count * at_s - sum_s, 0.0), count * self.window_s)
            total_s[holder] = total_s.get(holder, 0.0) + so_far_s
        return {holder: round(used_s) for holder, used_s in total_s.items() if used_s >= 1}


def usage_by_receipts(
    payloads: Iterable[Payload], executor_class: str, now: datetime, window_s: float
) -> dict[str, int]:
    """The same by what one miner's receipts prove; an accepted attempt runs until its receipt runs out."""
    started: dict[str, JobStarted] = {}
    accepted: dict[str, JobAccepted] = {}
    finished: dict[str, JobFinished] = {}
    for payload in payloads:
        match payload:
            case JobStarted():
                started[payload.job_uuid] = payload
            case JobAccepted():
                accepted[payload.job_uuid] = payload
            case JobFinished():
                finished[payload.job_uuid] = payload
    used_s: dict[str, float] = defaultdict(float)
    for uuid, start in started.items():
        if start.executor_class == executor_class:
            took_s = _took_s(start, accepted.get(uuid), finished.get(uuid), now, window_s)
            used_s[start.validator_hotkey] += min(took_s, window_s)
    return {hotkey: round(seconds) for hotkey, seconds in used_s.items() if seconds >= 1}


def _took_s(
    start: JobStarted,
    accepted: JobAccepted | None,
    finished: JobFinished | None,
    now: datetime,
    window_s: float,
) -> float:
    if finished is not None and finished.validator_hotkey == start.validator_hotkey:
        is_recent = 0 <= (now - finished.timestamp).total_seconds() <= window_s
        return finished.time_took_us / 1e6 if is_recent else 0.0
    if accepted is None or accepted.validator_hotkey != start.validator_hotkey:
        return 0.0
    runs_for_s = (now - accepted.timestamp).total_seconds()
    return (now - start.timestamp).total_seconds() if 0 <= runs_for_s <= accepted.ttl else 0.0
