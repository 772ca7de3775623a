"""Rows of text in columns that fit a terminal of 100 characters. Pure text."""

import re
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 100
_GAP: Final = "  "
#: What a peer wrote must not move the cursor or colour the screen.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def columns(head: Sequence[str], rows: Sequence[Sequence[object]], width: int = WIDTH) -> list[str]:
    """Lines of at most ``width``: the last column is cut where there is no room, numbers stand right."""
    table = [list(head), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(head))]
    widths[-1] = max(4, min(widths[-1], width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)))
    is_number = [all(isinstance(row[place], int) for row in rows) and rows for place in range(len(head))]
    return [
        _GAP.join(
            cell.rjust(size) if right else cut(cell, size).ljust(size)
            for cell, size, right in zip(line, widths, is_number, strict=True)
        ).rstrip()[:width]
        for line in table
    ]


def cut(text: str, width: int) -> str:
    """``text``, or its beginning and an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def printable(text: str) -> str:
    """``text`` without what would move the cursor, colour the screen or turn the line around."""
    return _UNPRINTABLE.sub("·", text)


def _text(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return printable(str(cell))
