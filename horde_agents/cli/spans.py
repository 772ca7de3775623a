"""Spans of time as a person types them: 30m, 24h, 7d."""

import re
from datetime import timedelta
from typing import Final

import typer

_SPAN: Final = re.compile(r"([1-9]\d{0,4})([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MOST_DAYS: Final = 3_650


def span(text: str) -> timedelta:
    """The span of ``text``; ten years at most."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no span such as 30m, 24h or 7d")
    return min(timedelta(seconds=int(found[1]) * _UNITS_S[found[2]]), timedelta(days=_MOST_DAYS))
