"""Molecule's scenarios are found by their folders, and a word that is none of them is refused."""

import pytest
import yaml

from tools.provision import main, scenarios
from tools.setup.places import ROOT


def test_every_folder_is_a_scenario() -> None:
    assert scenarios() == sorted(folder.name for folder in (ROOT / "molecule").iterdir())


@pytest.mark.parametrize("scenario", scenarios())
def test_a_scenario_has_its_folder_s_name(scenario: str) -> None:
    said = yaml.safe_load((ROOT / "molecule" / scenario / "molecule.yml").read_text())
    assert said["scenario"]["name"] == scenario


@pytest.mark.parametrize("scenario", scenarios())
def test_a_scenario_converges_twice_and_is_looked_at(scenario: str) -> None:
    sequence = yaml.safe_load((ROOT / "molecule" / scenario / "molecule.yml").read_text())["scenario"][
        "test_sequence"
    ]
    assert {"check", "converge", "idempotence", "verify"} <= set(sequence)
    assert (sequence[0], sequence[-1]) == ("destroy", "destroy")


def test_a_word_that_is_no_scenario_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["test", "hord"]) == 2
    assert f"Scenarios: {', '.join(scenarios())}" in capsys.readouterr().err
