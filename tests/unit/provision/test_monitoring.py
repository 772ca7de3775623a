"""Every metric that a rule or a dashboard names is one that is really served."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tools.role_readme import FOLDER
from tools.setup.places import ROOT

_ROLE = FOLDER / "monitoring"
#: of others' programs, and of the role's own rules and scripts; the scenario `monitoring` asks for each
OTHERS = set(json.loads((ROOT / "molecule/monitoring/others.json").read_text()))
_NAME = re.compile(r"\b(up|(?:horde|node|nomad|consul|dcgm|prometheus)_\w+)\b", re.IGNORECASE)
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def _served() -> set[str]:
    rows = re.findall(
        r"^\| `(horde_\w+)` \| (\w+) \|", (ROOT / "docs/operate/reference.md").read_text(), re.MULTILINE
    )
    return {name + suffix for name, kind in rows for suffix in _SUFFIXES[kind]}


def _rules() -> Iterator[tuple[str, str]]:
    for file in sorted((_ROLE / "files" / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield rule["alert"], rule["expr"]


def _panels() -> Iterator[tuple[str, str]]:
    for file in sorted((_ROLE / "files" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{file.stem}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("where", "expr"), [*_rules(), *_panels()])
def test_every_metric_is_served(where: str, expr: str) -> None:
    # words in quotes are values of labels
    named = set(_NAME.findall(re.sub(r'"[^"]*"', "", expr)))
    assert named, where
    assert named - _served() - OTHERS == set()


def test_every_metric_of_the_agents_is_on_a_dashboard() -> None:
    shown = {name for _, expr in _panels() for name in _NAME.findall(expr)}
    rows = {re.sub(r"_(bucket|sum|count)$", "", name) for name in _served()}
    assert {row for row in rows if not any(name.startswith(row) for name in shown)} == set()


@pytest.mark.parametrize("alert", [name for name, _ in _rules()])
def test_every_alert_is_known_to_operators(alert: str) -> None:
    assert f"`{alert}`" in (ROOT / "docs/operate/monitoring.md").read_text()


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for file in sorted((_ROLE / "files" / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                assert set(rule["annotations"]) == {"summary", "remedy"}, rule["alert"]
                assert rule["labels"]["severity"] in {"page", "warn"}


def test_dashboards_have_names_of_their_own() -> None:
    boards = [json.loads(file.read_text()) for file in Path(_ROLE / "files" / "dashboards").glob("*.json")]
    assert len({board["uid"] for board in boards}) == len(boards) > 0
