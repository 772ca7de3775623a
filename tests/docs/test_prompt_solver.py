"""``docs/batches.md`` has every exit code of the prompt solver and every key of its pin."""

import re
from dataclasses import fields
from pathlib import Path

from prompt_solver.faults import ExitCode
from prompt_solver.pin import Pin

PAGE = (Path(__file__).parents[2] / "docs" / "batches.md").read_text()
#: Python's own, and argparse's
FOREIGN = {1, 2}


def test_every_exit_code_is_told_and_no_other() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert told == {int(code) for code in ExitCode} | FOREIGN


def test_every_key_of_the_pin_is_told_and_no_other() -> None:
    rows = re.search(r"\| key of the pin .*?\n\n", PAGE, re.DOTALL)
    assert rows is not None
    first_cells = re.findall(r"^\| (`[^|]*) \|", rows[0], re.MULTILINE)
    told = {key for cell in first_cells for key in re.findall(r"`(\w+)`", cell)}
    assert told == {field.name for field in fields(Pin)}
