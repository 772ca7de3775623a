"""Writes what the roles' argument specs say into their README.md files and into docs/operate/provisioning.md.

    python -m tools.role_readme

Owns the form of the tables; the words are those of ``roles/*/meta`` and of
``playbooks/vars/inventory.yml``. A test compares both.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tools.setup.places import ROOT

FOLDER: Final = ROOT / "roles"
PAGE: Final = ROOT / "docs" / "operate" / "provisioning.md"
INVENTORY: Final = ROOT / "playbooks" / "vars" / "inventory.yml"
#: in the order in which site.yml uses them; `program` and `repository` are used by others
NAMES: Final = (
    "secrets",
    "pki",
    "base",
    "firewall",
    "repository",
    "nvidia_driver",
    "nvidia_toolkit",
    "docker",
    "consul",
    "nomad",
    "program",
    "postgresql",
    "object_store",
    "backups",
    "registry",
    "holders",
    "agents",
    "rotation",
    "ingress",
    "monitoring",
)
BEGIN: Final = "<!-- variables: begin -->\n"
END: Final = "<!-- variables: end -->"


@dataclass(frozen=True, slots=True)
class RoleVariable:
    """One variable of a role; ``default`` is none where the caller has to give it."""

    name: str
    type_name: str
    default: Any
    is_required: bool
    description: str


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One thing that a role does: ``main``, or a task file that a playbook names."""

    name: str
    says: str
    variables: tuple[RoleVariable, ...]


def headline(role: str) -> str:
    """What the role says about itself."""
    return str(_read(FOLDER / role / "meta" / "main.yml")["galaxy_info"]["description"])


def entry_points(role: str) -> list[EntryPoint]:
    """The role's entry points, ``main`` first."""
    specs = _read(FOLDER / role / "meta" / "argument_specs.yml")["argument_specs"]
    return [
        EntryPoint(name, spec["short_description"], tuple(_variables(spec["options"])))
        for name, spec in specs.items()
    ]


def defaults(role: str) -> dict[str, Any]:
    """What the role itself takes where nobody says anything."""
    return _read(FOLDER / role / "defaults" / "main.yml")


def variables(role: str) -> list[RoleVariable]:
    """All variables of the role, each once."""
    by_name = {variable.name: variable for point in entry_points(role) for variable in point.variables}
    return list(by_name.values())


def inventory_variables() -> list[RoleVariable]:
    """What an inventory says that no role alone has."""
    return list(_variables(_read(INVENTORY)["inventory_variables"]))


def readme(role: str) -> str:
    """The whole README.md of the role."""
    points = entry_points(role)
    lines = [f"# Role `{role}`", "", headline(role), ""]
    lines += ["| entry point | does |", "| --- | --- |"]
    lines += [f"| `{point.name}` | {point.says}. |" for point in points]
    lines += ["", *_table(variables(role))]
    lines += ["", "Printed from `meta/argument_specs.yml` by `python -m tools.role_readme`.", ""]
    return "\n".join(lines)


def page_with_tables(page: str) -> str:
    """The operators' page with the tables of now."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    shared = "### the inventory\n\nWhat several roles or the playbooks themselves ask for.\n\n"
    parts = [shared + "\n".join(_table(inventory_variables()))]
    parts += [f"### {role}\n\n{headline(role)}\n\n" + "\n".join(_table(variables(role))) for role in NAMES]
    return before + BEGIN + "\n\n".join(parts) + "\n" + END + after


def main() -> int:
    """Write all of them."""
    for role in NAMES:
        (FOLDER / role / "README.md").write_text(readme(role))
    PAGE.write_text(page_with_tables(PAGE.read_text()))
    return 0


def _variables(options: Mapping[str, Any]) -> list[RoleVariable]:
    return [
        RoleVariable(
            name,
            f"{option['type']} of {option['elements']}" if "elements" in option else option["type"],
            option.get("default"),
            option.get("required", False),
            _with_choices(option),
        )
        for name, option in options.items()
    ]


def _with_choices(option: Mapping[str, Any]) -> str:
    said = str(option["description"]).strip()
    inner = option.get("options", {})
    if inner:
        said += " Each has " + ", ".join(f"`{name}`" for name in inner) + "."
    choices = option.get("choices", [])
    return said + (f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else "")


def _table(rows: list[RoleVariable]) -> list[str]:
    lines = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |"]
    for row in rows:
        default = "required" if row.is_required else f"`{_shown(row.default)}`"
        cells = (f"`{row.name}`", row.type_name, default, row.description)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    return content


if __name__ == "__main__":
    sys.exit(main())
