"""Every variable of every role is specified and has the default that the spec and the README say."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.fixtures.ansible_tasks import tasks_of
from tools.role_readme import (
    FOLDER,
    INVENTORY,
    NAMES,
    defaults,
    entry_points,
    headline,
    inventory_variables,
    readme,
    variables,
)
from tools.setup.places import ROOT

#: What a role leaves for the roles and playbooks after it.
_ANSWERS = {"agents_images", "registry_digests"}
_INVENTORY_NAME = re.compile(r"\bhorde_\w+")
_EXPRESSION = re.compile(r"\{[{%].*?[}%]\}", re.DOTALL)
_OF_METRICS = {"rules", "dashboards"}
#: A file and a user of PostgreSQL.
_NO_VARIABLES = {"horde_backup", "horde_replication"}


def test_every_role_has_its_readme() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == set(NAMES)


@pytest.mark.parametrize("role", NAMES)
def test_the_readme_is_what_the_specs_say(role: str) -> None:
    assert (FOLDER / role / "README.md").read_text() == readme(role), "run: python -m tools.role_readme"


@pytest.mark.parametrize("role", NAMES)
def test_the_specs_have_the_role_s_own_defaults(role: str) -> None:
    specified = {row.name: row.default for row in variables(role) if not row.is_required}
    assert specified == defaults(role)


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_says_what_it_means(role: str) -> None:
    assert headline(role).endswith(".")
    assert [row.name for row in variables(role) if not row.description.endswith(".")] == []


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_is_used(role: str) -> None:
    texts = [file.read_text() for file in (FOLDER / role).rglob("*") if file.is_file() and _is_code(file)]
    whole = "\n".join(texts)
    unused = [row.name for row in variables(role) if not re.search(rf"\b{row.name}\b", whole)]
    assert unused == []


@pytest.mark.parametrize("role", NAMES)
def test_numbers_are_counted_with_as_numbers(role: str) -> None:
    """What an operator types as -e name=50 is a text."""
    numbers = "|".join(row.name for row in variables(role) if row.type_name in {"int", "float"})
    bare = rf"\b(?:{numbers})\b(?!\s*\|\s*(?:int|float)\b)"
    operator = r"(?://|==|!=|<=|>=|[*+<>%]|\s-\s)"
    counted = re.compile(rf"{bare}\s*{operator}|{operator}\s*{bare}")
    texts = [file.read_text() for file in (FOLDER / role).rglob("*") if file.is_file() and _is_code(file)]
    found = [line for text in texts for each in _EXPRESSION.findall(text) for line in counted.findall(each)]
    assert not numbers or found == []


@pytest.mark.parametrize("role", NAMES)
def test_a_fact_of_a_role_s_own_is_not_taken_for_a_misspelt_variable(role: str) -> None:
    """Preflight, which may come later in the run, refuses what begins as a role's variable and is none."""
    facts = {
        name
        for file in (FOLDER / role / "tasks").glob("*.yml")
        for task in tasks_of(file)
        for name in task.words.get("ansible.builtin.set_fact", {})
    }
    known = {row.name for row in variables(role)} | _ANSWERS | {"cacheable"}
    assert {name for name in facts - known if not name.startswith("_")} == set()


@pytest.mark.parametrize("role", NAMES)
def test_what_a_role_registers_is_not_taken_for_a_misspelt_variable(role: str) -> None:
    words = "\n".join(file.read_text() for file in (FOLDER / role / "tasks").glob("*.yml"))
    prefixes = tuple(f"{name}_" for name in NAMES)
    assert [name for name in re.findall(r"register: (\w+)", words) if name.startswith(prefixes)] == []


def test_the_variables_of_the_inventory_are_those_that_are_used() -> None:
    playbooks = INVENTORY.parents[1]
    code = [
        file
        for folder in (playbooks, FOLDER, playbooks.parent / "inventories")
        for file in folder.rglob("*.yml")
        if file.is_file() and not _OF_METRICS & set(file.parts) and file != INVENTORY
    ]
    texts = [file.read_text() for file in code]
    for template in FOLDER.rglob("*.j2"):  # what is not an expression there may be a metric's name
        texts += _EXPRESSION.findall(template.read_text())
    used = {name for text in texts for name in _INVENTORY_NAME.findall(text)}
    assert used - _NO_VARIABLES == {row.name for row in inventory_variables()}


@pytest.mark.parametrize("role", NAMES)
def test_every_entry_point_is_a_file(role: str) -> None:
    named = {point.name for point in entry_points(role)}
    assert {name for name in named if not (FOLDER / role / "tasks" / f"{name}.yml").exists()} == set()


def test_what_others_include_of_a_role_is_an_entry_point() -> None:
    wanted = {point for point, _ in _included()}
    known = {(role, point.name) for role in NAMES for point in entry_points(role)}
    assert len(wanted) > len(NAMES)
    assert wanted - known == set()


@pytest.mark.parametrize("role", NAMES)
def test_who_includes_a_role_gives_what_it_takes(role: str) -> None:
    given = [(name, variables) for (of, name), variables in _included() if of == role]
    for point in entry_points(role):
        required = {row.name for row in point.variables if row.is_required}
        assert [required - names for name, names in given if name == point.name and required - names] == []


@cache
def _included() -> list[tuple[tuple[str, str], set[str]]]:
    """Of each task that includes a role: role and entry point, and the variables that it gives."""
    books = ROOT / "playbooks"
    files = [*FOLDER.glob("*/tasks/*.yml"), *books.glob("*.yml"), *books.glob("tasks/*.yml")]
    tasks = [task.words for file in files for task in tasks_of(file)]
    included = [(words.get("ansible.builtin.include_role", {}), words.get("vars", {})) for words in tasks]
    return [
        ((role["name"], role.get("tasks_from", "main")), set(given))
        for role, given in included
        if role.get("name") in NAMES
    ]


def test_rotation_knows_all_authorities() -> None:
    made, replaced = (
        yaml.safe_load((FOLDER / role / "vars/main.yml").read_text()) for role in ("pki", "rotation")
    )
    assert sorted(replaced["_rotation_authorities"]) == sorted(made["_pki_names"])


def test_rotation_does_what_its_spec_names() -> None:
    spec = yaml.safe_load((FOLDER / "rotation/meta/argument_specs.yml").read_text())["argument_specs"]
    for choice in spec["main"]["options"]["rotation_of"]["choices"]:
        assert (FOLDER / "rotation/tasks" / f"{choice}.yml").exists()


def _is_code(file: Path) -> bool:
    return file.parent.name in {"tasks", "templates", "vars", "handlers"}
