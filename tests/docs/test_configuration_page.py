"""docs/operate/configuration.md lists every knob of the dynamic configuration."""

from pathlib import Path

from horde_agents.scoring.configuration import Configuration
from tools.configuration_page import configuration_page

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "configuration.md"


def test_the_page_shows_the_knobs_of_the_code() -> None:
    remedy = "run: python -m tools.configuration_page docs/operate/configuration.md"
    assert PAGE.read_text() == configuration_page(), remedy


def test_every_knob_says_what_it_means() -> None:
    for name, field in Configuration.model_fields.items():
        assert (field.description or "").endswith("."), name
