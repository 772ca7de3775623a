"""Every playbook says what it does and what to type, and is in the operators' pages."""

import re
from pathlib import Path

import pytest

from tools.setup.places import ROOT

FOLDER = ROOT / "playbooks"
PLAYBOOKS = sorted(FOLDER.glob("*.yml"))
TASKS = sorted(FOLDER.glob("tasks/*.yml"))
PAGES = "\n".join(page.read_text() for page in (ROOT / "docs" / "operate").glob("*.md"))


def named(file: Path) -> str:
    return file.stem


@pytest.mark.parametrize("file", PLAYBOOKS, ids=named)
def test_it_begins_with_what_it_does_and_what_to_type(file: Path) -> None:
    comment = re.match(r"---\n((?:#.*\n)+)", file.read_text())
    assert comment, "no comment at its head"
    assert re.search(
        rf"^#   ansible-playbook -i \S+ (playbooks/)?{re.escape(file.name)}", comment[1], re.MULTILINE
    )


@pytest.mark.parametrize("file", [each for each in PLAYBOOKS if each.name != "site.yml"], ids=named)
def test_operators_can_read_about_it(file: Path) -> None:
    assert f"playbooks/{file.name}" in PAGES


@pytest.mark.parametrize("file", TASKS, ids=named)
def test_every_task_file_is_used(file: Path) -> None:
    texts = [each.read_text() for each in [*PLAYBOOKS, *TASKS] if each != file]
    assert any(f"tasks/{file.name}" in text for text in texts)
