"""docs/operate/nomad-jobs.md lists every variable of every Nomad job, with type, default and meaning."""

import re
from pathlib import Path

import pytest

from tools.nomad_jobs_page import nomad_jobs_page
from tools.nomad_specs import FOLDER, NAMES, spec_file, variables

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "nomad-jobs.md"


def test_the_page_shows_the_variables_of_the_jobs() -> None:
    assert PAGE.read_text() == nomad_jobs_page(), (
        "run: python -m tools.nomad_jobs_page docs/operate/nomad-jobs.md"
    )


def test_the_page_has_every_job() -> None:
    assert {file.name for file in FOLDER.glob("*.hcl")} == {spec_file(name).name for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_read_and_says_what_it_means(name: str) -> None:
    found = variables(name)
    assert [variable.name for variable in found] == re.findall(
        r'^variable "(\w+)"', spec_file(name).read_text(), re.MULTILINE
    )
    assert [variable.name for variable in found if not variable.description.endswith(".")] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_used(name: str) -> None:
    text = spec_file(name).read_text()
    job = text[text.index("\njob ") :]
    assert [variable.name for variable in variables(name) if f"var.{variable.name}" not in job] == []
