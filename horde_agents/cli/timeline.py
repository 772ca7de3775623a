"""A job's story as a picture that fits a terminal: one bar a stage, on one time axis. Pure text."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_NAME_WIDTH: Final = 16
_TIME_WIDTH: Final = 10
#: Eighths of a cell, so that short stages still show their share.
_PARTS: Final = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Mark:
    """A state and the instant it was reached; ``note`` is shown behind the last one."""

    state: str
    at: datetime
    note: str = ""


def timeline(marks: Sequence[Mark], width: int = 80) -> list[str]:
    """Draw ``marks``, oldest first; a bar lasts until the next mark. ``width`` is in columns."""
    if not marks:
        return []
    start = marks[0].at
    ends = [mark.at for mark in marks[1:]] + [marks[-1].at]
    whole_s = max((marks[-1].at - start).total_seconds(), 1e-6)
    room = max(width - _NAME_WIDTH - _TIME_WIDTH - 4, 8)
    lines = []
    for mark, end in zip(marks, ends, strict=True):
        offset_s = (mark.at - start).total_seconds()
        bar = _bar(offset_s / whole_s, (end - mark.at).total_seconds() / whole_s, room)
        note = f" {mark.note}" if mark.note else ""
        lines.append(f"  {mark.state:<{_NAME_WIDTH}}{_span(offset_s):>{_TIME_WIDTH}} {bar}{note}".rstrip())
    return lines


def _span(seconds: float) -> str:
    """Milliseconds matter in a short job, not in a long one."""
    return f"{seconds:.3f} s" if seconds < 1000 else f"{seconds:.0f} s"


def _bar(start_share: float, share: float, room: int) -> str:
    """Cells from ``start_share`` on, ``share`` of the axis long; at least a sliver."""
    indent = min(int(start_share * room), room - 1)
    eighths = max(round(share * room * 8), 1)
    full, rest = divmod(min(eighths, (room - indent) * 8), 8)
    return " " * indent + "█" * full + (_PARTS[rest] if rest else "")
