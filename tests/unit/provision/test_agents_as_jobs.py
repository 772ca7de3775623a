"""What an inventory's agents are as jobs of Nomad."""

from datetime import date
from typing import Any

import pytest

from tests.fixtures.role_programs import filter_plugin
from tools.nomad_specs import variables

agents = filter_plugin("agents_as_jobs")
_FACILITATOR = {"kind": "facilitator", "name": "facilitator1"}
_VALIDATOR = {"kind": "validator", "name": "validator-a", "hotkey_file": "keys/validator"}
_MINER = {"kind": "miner", "uid": 17, "hotkey_file": "keys/miner-17"}
_USER = {"name": "validator-a", "buckets": ["prompts", "spare", "answers"]}


def site(**changes: Any) -> dict[str, Any]:
    """Two machines for agents, a database, and an object store of which validator-a is a user."""
    whole = {
        "groups": {"miners": ["agents2", "gpu1", "agents1"], "validators": ["agents1"]},
        "machines": ["agents1", "agents2"],
        "kinds": {
            "facilitator": "facilitators",
            "validator": "validators",
            "miner": "miners",
            "trusted_miner": "trusted_miners",
        },
        "common": {"image": "agent@sha256:1", "chain_url": "wss://chain"},
        "miner": {"horde": "main"},
        "miner_settings": {"pool": "nomad", "executor_env": {"A": "b"}},
        "miner_files": ["consul_ca"],
        "databases": True,
        "objects": {"url": "https://s3", "region": "here", "ca_file": "ca.pem", "users": [_USER]},
    }
    return {**whole, **changes}


def job(agent: dict[str, Any], **changes: Any) -> dict[str, Any]:
    (found,) = agents.agents_as_jobs([agent], site(**changes))
    return dict(found)


@pytest.mark.parametrize("kind", ["facilitator", "miner"])
def test_a_port_that_the_inventory_does_not_give_is_the_job_s_own(kind: str) -> None:
    own = {row.name: row.default for row in variables(kind)}
    for which in ["port"] if kind == "facilitator" else ["port", "executor_port"]:
        assert str(agents.agent_port({"kind": kind}, which)) == str(own[which])


def test_a_port_that_the_inventory_gives_is_taken_whatever_its_type() -> None:
    assert agents.agent_port({**_MINER, "variables": {"port": "8117"}}) == 8117


@pytest.mark.parametrize("said", ["https", None, 0, -1, 70000])
def test_what_is_no_port_is_named_with_its_agent(said: Any) -> None:
    agent = {**_MINER, "variables": {"executor_port": said}}
    with pytest.raises(ValueError, match=r"miner-17 of horde_agents has the executor_port .*: .* 8443$"):
        agents.agent_port(agent, "executor_port")


@pytest.mark.parametrize(
    "agent",
    [
        {},
        {"kind": "minor", "name": None},
        {"kind": "miner", "uid": None, "settings": None, "variables": None},
        {"kind": "validator", "machines": None},
    ],
)
def test_what_an_entry_lacks_is_empty_until_preflight_names_it(agent: dict[str, Any]) -> None:
    assert job(agent)["job"] in {"", "miner-"}


def test_uid_0_is_a_uid() -> None:
    assert agents.agent_job({"kind": "miner", "uid": 0}) == "miner-0"


def test_a_miner_is_called_by_its_uid_and_has_what_miners_share() -> None:
    found = job(_MINER)
    assert (found["job"], found["database"]) == ("miner-17", "miner_17")
    assert found["variables"]["uid"] == 17
    assert found["variables"]["horde"] == "main"
    assert found["variables"]["secret_files"] == ["consul_ca", "database_ca"]
    assert "name" not in found["variables"]


def test_settings_are_texts_and_the_agent_s_own_come_last() -> None:
    settings = job({**_MINER, "settings": {"pool": "here", "slots": {"a": 2}}})["variables"]["settings"]
    assert settings == {"pool": "here", "executor_env": '{"A": "b"}', "slots": '{"a": 2}'}


def test_a_date_is_the_text_that_yaml_took_it_from() -> None:
    settings = job({**_MINER, "settings": {"since": date(2026, 1, 2)}})["variables"]["settings"]
    assert settings["since"] == '"2026-01-02"'


def test_an_agent_may_run_where_its_group_and_the_agents_machines_meet() -> None:
    assert job(_MINER)["variables"]["machines"] == ["agents1", "agents2"]
    assert job({**_MINER, "machines": ["b", "GPU1", "a"]})["variables"]["machines"] == ["a", "b", "GPU1"]
    assert job(_FACILITATOR)["variables"]["machines"] == []


def test_a_trusted_miner_has_no_chain_and_its_own_group() -> None:
    found = job({**_MINER, "settings": {"trusted_by": "5F"}}, groups={"trusted_miners": ["agents2"]})
    assert (found["kind"], found["wanted_kind"]) == ("miner", "trusted_miner")
    assert found["variables"]["chain_url"] == ""
    assert found["variables"]["machines"] == ["agents2"]


def test_an_agent_whose_data_is_elsewhere_has_no_database_here() -> None:
    assert job({**_FACILITATOR, "database_url_file": "keys/url"})["database"] == ""
    assert job(_FACILITATOR, databases=False)["variables"]["secret_files"] == []


def test_a_validator_that_is_a_user_of_the_store_has_its_first_and_last_bucket() -> None:
    found = job(_VALIDATOR)
    settings = found["variables"]["settings"]
    assert (settings["prompts_bucket"], settings["answers_bucket"]) == ("prompts", "answers")
    assert settings["objects_access_key_id"] == "validator-a"
    assert settings["objects_ca_file"] == "/secrets/objects_ca"
    assert found["variables"]["secret_files"] == ["database_ca", "objects_secret", "objects_ca"]


@pytest.mark.parametrize(
    "objects",
    [
        {"url": "", "region": "", "ca_file": "", "users": [_USER]},
        {"url": "https://s3", "region": "", "ca_file": "", "users": []},
    ],
)
def test_another_validator_has_none(objects: dict[str, Any]) -> None:
    found = job(_VALIDATOR, objects=objects)
    assert found["objects"] == ""
    assert "objects_url" not in found["variables"]["settings"]


def test_a_user_without_buckets_is_left_to_preflight() -> None:
    objects = {"url": "https://s3", "region": "", "ca_file": "", "users": [{**_USER, "buckets": []}]}
    assert job(_VALIDATOR, objects=objects)["objects"] == "validator-a"


def test_variables_of_the_agent_replace_those_that_all_have() -> None:
    assert job({**_MINER, "variables": {"image": "mine"}})["variables"]["image"] == "mine"
