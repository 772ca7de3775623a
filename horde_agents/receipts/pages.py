"""Receipt pages: which page a receipt belongs to, and what a reader gets of one (wire note E.2). Pure."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

PAGE_S: Final = 300
_RANGE: Final = re.compile(r"^bytes=(\d{1,18})-(\d{0,18})$")


def page_of(stored_at_s: float) -> int:
    """The page of a receipt stored at this Unix second."""
    return int(stored_at_s // PAGE_S)


def page_line(payload: dict[str, Any], validator_signature: str, miner_signature: str) -> str:
    """One published receipt, newline included."""
    value = {
        "payload": payload,
        "validator_signature": validator_signature,
        "miner_signature": miner_signature,
    }
    return json.dumps(value, separators=(",", ":")) + "\n"


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes ``start`` up to but excluding ``end`` of a page of ``total``; ``status`` is the HTTP answer."""

    status: int
    start: int
    end: int
    total: int


def slice_for(range_header: str | None, total: int) -> Slice:
    """What to answer for a page of ``total`` bytes: 200 whole, 206 a part, 416 nothing new."""
    if range_header is None:
        return Slice(200, 0, total, total)
    match = _RANGE.match(range_header.strip())
    if match is None:
        return Slice(416, 0, 0, total)
    start = int(match[1])
    end = min(int(match[2]) + 1, total) if match[2] else total
    if start >= end:
        return Slice(416, 0, 0, total)
    return Slice(206, start, end, total)
