"""docs/operate/nomad.md carries the table that the code runs by, and a class file that can be loaded."""

import re
from pathlib import Path

from horde_agents.jobs.classes import read_classes
from horde_agents.placement.standings import Standing
from tools.nomad_page import CASES, page_with_table

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "nomad.md"


def test_the_page_shows_the_table_of_the_code() -> None:
    page = PAGE.read_text()
    assert page == page_with_table(page), "run: python -m tools.nomad_page docs/operate/nomad.md"


def test_the_table_has_every_standing() -> None:
    assert {case.standing for case in CASES} == set(Standing)


def test_the_class_of_the_page_can_be_loaded() -> None:
    (text,) = re.findall(r"<!-- class file -->\n```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (row,) = read_classes(text, "the page").values()
    assert row.fits("NVIDIA L4", 23034)
    assert not row.fits("NVIDIA L40S", 46068)
