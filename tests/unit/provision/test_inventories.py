"""The inventories that operators start from name things that exist."""

from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.jobs.classes import CATALOGUE
from tools.nomad_specs import variables
from tools.setup.places import ROOT

_SETTINGS: dict[str, type[BaseModel]] = {
    "facilitator": FacilitatorSettings,
    "validator": ValidatorSettings,
    "miner": MinerSettings,
}
_EXAMPLE = ROOT / "inventories" / "example" / "group_vars" / "all.yml"


def agents() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(_EXAMPLE.read_text())["horde_agents"]
    return found


def named(agent: dict[str, Any]) -> str:
    return str(agent.get("name", agent.get("uid")))


def test_the_example_has_agents_of_every_kind() -> None:
    assert {agent["kind"] for agent in agents()} == set(_SETTINGS)


@pytest.mark.parametrize("agent", agents(), ids=named)
def test_the_example_s_agents_have_settings_and_variables_that_exist(agent: dict[str, Any]) -> None:
    assert agent.get("settings", {}).keys() <= _SETTINGS[agent["kind"]].model_fields.keys()
    assert agent.get("variables", {}).keys() <= {row.name for row in variables(agent["kind"])}
    assert agent.get("settings", {}).get("slots", {}).keys() <= CATALOGUE.keys()


def test_the_example_s_agents_have_databases() -> None:
    jobs = {agent.get("name") or f"miner-{agent['uid']}" for agent in agents()}
    databases = yaml.safe_load(_EXAMPLE.read_text())["postgresql_databases"]
    assert {job.replace("-", "_") for job in jobs} == set(databases)


def test_the_example_s_trusted_miner_has_the_classes_of_the_others() -> None:
    miners = [agent["settings"] for agent in agents() if agent["kind"] == "miner"]
    trusted = {name for one in miners if "trusted_by" in one for name in one["slots"]}
    others = {name for one in miners if "trusted_by" not in one for name in one["slots"]}
    assert others == trusted


def test_the_example_s_agents_have_a_second_machine() -> None:
    groups = yaml.safe_load((_EXAMPLE.parents[1] / "hosts.yml").read_text())["machines"]["children"]
    kinds = groups["agent_nodes"]["children"]
    assert [name for name, group in kinds.items() if len(group["hosts"]) < 2] == ["trusted_miners"]
    assert not [named(agent) for agent in agents() if "machines" in agent]
