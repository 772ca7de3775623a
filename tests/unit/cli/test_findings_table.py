"""The table of findings of a whole horde."""

import io
import json
from dataclasses import asdict

import pytest

from horde_agents.cli.checks.finding import fine, noted, wrong
from horde_agents.cli.checks.table import lines, main

LONG = "it is failed, restarted 5 times; see why: journalctl -u nomad -n 50; then: systemctl restart nomad"
FOUND = {
    "gpu1": [asdict(fine("disk", "all is well")), asdict(wrong("unit nomad", LONG))],
    "miner-17": [asdict(noted("runc", "waived: too old")), asdict(fine("database", "answers"))],
}


def test_what_is_wrong_comes_first_and_what_is_fine_is_counted() -> None:
    table = list(lines(FOUND, 200))
    assert table == [
        "where     is     what",
        f"gpu1      wrong  unit nomad: {LONG}",
        "miner-17  note   runc: waived: too old",
        "gpu1      ok     1 checks",
        "miner-17  ok     1 checks",
    ]


def test_what_is_fine_is_listed_when_asked_for() -> None:
    assert "gpu1      ok     disk: all is well" in list(lines(FOUND, 200, lists_fine=True))


@pytest.mark.parametrize("width", [60, 80, 100])
def test_it_fits_the_terminal_and_loses_no_word(width: int) -> None:
    table = list(lines(FOUND, width))
    assert max(map(len, table)) <= width
    assert LONG.split() == [word for line in table[1:4] for word in line.split()][4:][: len(LONG.split())]


@pytest.mark.parametrize(("found", "code"), [(FOUND, 1), ({"gpu1": FOUND["gpu1"][:1]}, 0), ({}, 0)])
def test_the_exit_code_says_whether_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, found: object, code: int
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(found)))
    assert main([]) == code
