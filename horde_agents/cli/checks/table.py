"""Findings of many machines and agents as one table for a terminal.

    python3 -m horde_agents.cli.checks.table [--width COLUMNS] [--all] < FINDINGS

FINDINGS are JSON: where → findings, as ``horde doctor --json`` prints them. What is wrong comes first, what
is fine is counted, and listed with ``--all``. Needs Python alone. The exit code is 1 when something is wrong.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_STATES: Final = ("wrong", "note", "ok")
_STATE_WIDTH: Final = len(_STATES[0])
_LONGEST_PLACE: Final = 20
_LEAST_WIDTH: Final = 60


def main(words: Sequence[str]) -> int:
    """1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="table", description="Print findings from standard input.")
    parser.add_argument("--width", type=int, default=100, help="columns of the terminal")
    parser.add_argument("--all", action="store_true", help="list what is fine, too")
    asked = parser.parse_args(words)
    found = json.load(sys.stdin)
    print("\n".join(lines(found, max(asked.width, _LEAST_WIDTH), lists_fine=asked.all)))
    return 1 if any(_state(finding) == "wrong" for each in found.values() for finding in each) else 0


def lines(
    found: Mapping[str, Sequence[Mapping[str, Any]]], width: int, *, lists_fine: bool = False
) -> Iterator[str]:
    """The table's lines, none longer than ``width``."""
    place_width = min(max(map(len, [*found, "where"])), _LONGEST_PLACE)
    rows = [
        (state, place, f"{finding['check']}: {finding['says']}")
        for state in _STATES
        if state != "ok" or lists_fine
        for place in sorted(found)
        for finding in found[place]
        if _state(finding) == state
    ]
    if not lists_fine:
        rows += [("ok", place, f"{count} checks") for place, count in _counts(found)]
    for state, place, text in [("is", "where", "what"), *rows]:
        head = f"{place[:place_width]:<{place_width}}  {state:<{_STATE_WIDTH}}  "
        yield from textwrap.wrap(
            text, width, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
        )


def _counts(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, int]]:
    for place in sorted(found):
        count = sum(_state(finding) == "ok" for finding in found[place])
        if count:
            yield place, count


def _state(finding: Mapping[str, Any]) -> str:
    return "wrong" if not finding["fine"] else "note" if finding["note"] else "ok"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
