"""Every playbook says what it does and what to type, is in the operators' pages, and tells no secret."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.setup.places import ROOT

FOLDER = ROOT / "playbooks"
PLAYBOOKS = sorted(FOLDER.glob("*.yml"))
TASKS = sorted(FOLDER.glob("tasks/*.yml"))
PAGES = "\n".join(page.read_text() for page in (ROOT / "docs" / "operate").glob("*.md"))
#: Secrets that a task has in its words.
SECRETS = re.compile(r"/(nomad|consul)/(management|gossip)|X-(Nomad|Consul)-Token|SecretID")


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


@pytest.mark.parametrize("file", TASKS, ids=named)
def test_no_task_that_has_a_secret_can_be_logged(file: Path) -> None:
    tellers = [
        task["name"]
        for task in _leaves(yaml.safe_load(file.read_text()), {})
        if SECRETS.search(str(task)) and not task.get("no_log")
    ]
    assert tellers == []


def _leaves(tasks: list[dict[str, Any]], given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Tasks that are no blocks, with what their blocks' module_defaults give them."""
    for task in tasks:
        if "block" not in task:
            yield task | {"given": [given[module] for module in task if module in given]}
            continue
        defaults = given | task.get("module_defaults", {})
        yield from _leaves([*task["block"], *task.get("always", []), *task.get("rescue", [])], defaults)
