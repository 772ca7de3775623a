"""docs/operate/settings.md lists every setting of every agent, with unit, default and meaning."""

from pathlib import Path

import pytest

from horde_agents.runtime.settings import settings_rows
from tools.settings_page import AGENTS, settings_page

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "settings.md"


def test_the_page_shows_the_settings_of_the_code() -> None:
    assert PAGE.read_text() == settings_page(), "run: python -m tools.settings_page docs/operate/settings.md"


@pytest.mark.parametrize("agent", AGENTS)
def test_every_setting_says_what_it_means(agent: str) -> None:
    for row in settings_rows(AGENTS[agent], agent):
        assert row.description.endswith("."), f"{agent}: {row.name} is described as {row.description!r}"


@pytest.mark.parametrize("agent", AGENTS)
def test_a_setting_measured_in_time_or_size_names_its_unit(agent: str) -> None:
    for row in settings_rows(AGENTS[agent], agent):
        if "econds" in row.description or "bytes" in row.description.lower():
            assert row.unit, f"{agent}: the name {row.name} does not end in its unit"
