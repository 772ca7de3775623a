"""docs/job-lifecycle.md carries the table that the code prints."""

from pathlib import Path

from horde_agents.jobs.story import lifecycle_table

PAGE = Path(__file__).parents[2] / "docs" / "job-lifecycle.md"


def test_the_page_shows_the_table_of_the_code() -> None:
    page = PAGE.read_text()
    shown = page.split("<!-- lifecycle table: begin -->")[1].split("<!-- lifecycle table: end -->")[0]
    assert shown.strip() == lifecycle_table(), "run: python -m horde_agents.jobs.story docs/job-lifecycle.md"
