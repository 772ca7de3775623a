"""What Nomad makes of the agents' jobs: facilitator, validator, and a miner per UID."""

import re
from pathlib import Path
from typing import Any

import pytest

from horde_agents.runtime.settings import load_settings
from tools.nomad_specs import SpecRefused, parsed
from tools.settings_page import AGENTS

IMAGE = f"registry.example/horde/agents@sha256:{'0' * 64}"
NAMES = ("facilitator", "validator", "miner")
SECOND_NS = 10**9


def agent(name: str, /, **given: Any) -> dict[str, Any]:
    required = {"image": IMAGE, **({"uid": 7} if name == "miner" else {})}
    return parsed(name, {**required, **given})


def group_of(job: dict[str, Any]) -> dict[str, Any]:
    (group,) = job["TaskGroups"]
    assert group["Count"] == 1
    return dict(group)


def task_of(job: dict[str, Any]) -> dict[str, Any]:
    (task,) = group_of(job)["Tasks"]
    return dict(task)


def templates_of(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["DestPath"]: each for each in task_of(job)["Templates"]}


def test_there_is_one_miner_job_per_uid() -> None:
    job = agent("miner", uid=7, horde="mine", version="1.2.3", kept_by="horde_agents")
    (service,) = group_of(job)["Services"]
    assert job["ID"] == job["Name"] == "miner-7"
    assert job["Meta"] == {
        "agent": "miner",
        "horde": "mine",
        "kept_by": "horde_agents",
        "uid": "7",
        "version": "1.2.3",
    }
    assert {"horde": "mine", "uid": "7", "version": "1.2.3"}.items() <= service["Meta"].items()


@pytest.mark.parametrize("name", NAMES)
def test_agent_is_a_service_above_the_holders_on_machines_of_its_own(name: str) -> None:
    job = agent(name)
    assert (job["Type"], job["Priority"], job["NodePool"]) == ("service", 80, "default")
    assert {(each["LTarget"], each["RTarget"]) for each in job["Constraints"]} == {
        ("${attr.kernel.name}", "linux"),
        ("${attr.nomad.version}", ">= 1.11.3"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_agent_is_bound_to_nodes_by_what_no_other_machine_can_claim(name: str) -> None:
    ids = ["5df8f1d2-0b0e-4c35-8a55-0d9c8a1f4b11", "8bd5d2c4-1f0d-4f0f-9c5e-3f6c7a2b9e22"]
    targets = {each["LTarget"]: each for each in agent(name, node_ids=ids)["Constraints"]}
    bound = targets["${node.unique.id}"]
    assert (bound["Operand"], bound["RTarget"]) == ("set_contains_any", ",".join(ids))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", ["", "5df8f1d2", "miner1"])
def test_an_id_that_is_none_is_refused(name: str, wrong: str) -> None:
    with pytest.raises(SpecRefused, match="UUID in full"):
        agent(name, node_ids=[wrong])


@pytest.mark.parametrize("name", NAMES)
def test_update_that_does_not_become_ready_is_taken_back(name: str) -> None:
    job = agent(name)
    update = job["Update"]
    assert (update["MaxParallel"], update["AutoRevert"], update["HealthCheck"]) == (1, True, "checks")
    (service,) = group_of(job)["Services"]
    alive, ready = service["Checks"]
    assert (service["Provider"], service["Name"]) == ("consul", f"horde-{name}")
    assert (alive["Path"], alive["PortLabel"], ready["Path"], ready["PortLabel"]) == (
        "/healthz",
        "operator",
        "/readyz",
        "operator",
    )
    assert alive["CheckRestart"]["Limit"] > 0
    assert ready["CheckRestart"] is None
    assert ready["OnUpdate"] == "require_healthy"


def test_update_of_a_miner_need_not_wait_for_executors() -> None:
    (service,) = group_of(agent("miner", wait_for_ready=False))["Services"]
    assert service["Checks"][1]["OnUpdate"] == "ignore"


@pytest.mark.parametrize("name", NAMES)
def test_failing_agent_is_tried_again_and_never_given_up(name: str) -> None:
    group = group_of(agent(name))
    assert (group["RestartPolicy"]["Attempts"], group["RestartPolicy"]["Mode"]) == (5, "fail")
    assert group["ReschedulePolicy"]["Unlimited"]
    assert group["Disconnect"]["StopOnClientAfter"] == 300 * SECOND_NS


@pytest.mark.parametrize("name", NAMES)
def test_container_has_no_rights(name: str) -> None:
    task = task_of(agent(name))
    config = task["Config"]
    assert (task["Driver"], task["User"]) == ("docker", "horde")
    assert config["image"] == IMAGE
    assert (config["privileged"], config["readonly_rootfs"]) == (False, True)
    assert config["cap_drop"] == ["all"]
    assert config["security_opt"] == ["no-new-privileges"]
    assert config["pids_limit"] == 512
    assert [(mount["type"], mount["target"]) for mount in config["mount"]] == [("tmpfs", "/tmp")]
    assert not {"cap_add", "volumes", "devices", "pid_mode", "ipc_mode", "userns_mode"} & set(config)


@pytest.mark.parametrize("name", ["validator", "miner"])
def test_kill_leaves_the_time_to_drain(name: str) -> None:
    task = task_of(agent(name, drain_s=90))
    assert task["Env"][f"HORDE_{name.upper()}_DRAIN_S"] == "90"
    # Docker's stop is SIGTERM; a signal of Nomad's own fails for ever on a container that a reboot has ended
    assert (task["KillSignal"], task["KillTimeout"]) == ("", 105 * SECOND_NS)


def test_ports_are_fixed_or_chosen_by_nomad_and_metrics_stand_apart() -> None:
    fixed = group_of(agent("miner", port=8100, operator_network="private"))["Networks"][0]
    chosen = group_of(agent("miner", port=0, operator_port=9200))["Networks"][0]
    assert fixed["Mode"] == "host"
    assert {port["Label"]: port["Value"] for port in fixed["ReservedPorts"]} == {
        "public": 8100,
        "executors": 8443,
    }
    assert [(port["Label"], port["HostNetwork"]) for port in fixed["DynamicPorts"]] == [
        ("operator", "private")
    ]
    assert {port["Label"]: port["Value"] for port in chosen["ReservedPorts"]} == {
        "executors": 8443,
        "operator": 9200,
    }
    assert [port["Label"] for port in chosen["DynamicPorts"]] == ["public"]
    (own,) = group_of(agent("validator"))["Networks"][0]["DynamicPorts"]
    assert (own["Label"], own["HostNetwork"]) == ("operator", "loopback")
    (api,) = group_of(agent("validator", api_network="public"))["Networks"][0]["ReservedPorts"]
    assert (api["Label"], api["Value"], api["HostNetwork"]) == ("api", 9112, "public")


@pytest.mark.parametrize("name", NAMES)
def test_secrets_are_files_for_the_agents_user_alone(name: str) -> None:
    job = agent(name, secret_files=["consul_key"])
    path = "miner-7" if name == "miner" else name
    secrets = {file: each for file, each in templates_of(job).items() if file != "secrets/consul.token"}
    wanted = {f"secrets/{name}.toml", "secrets/consul_key"} | (
        set() if name == "facilitator" else {"secrets/hotkey"}
    )
    assert set(secrets) == wanted
    for each in secrets.values():
        assert (each["Perms"], each["Uid"], each["ErrMissingKey"]) == ("0400", 10001, True)
        assert (each["ChangeMode"], each["Envvars"]) == ("restart", None)
        assert f'{{{{ with nomadVar "nomad/jobs/{path}" }}}}' in each["EmbeddedTmpl"]


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_in_the_environment(name: str) -> None:
    for variable in task_of(agent(name, consul_urls=["https://c"]) if name == "miner" else agent(name))[
        "Env"
    ]:
        assert not re.search(r"(PASSWORD|SECRET|TOKEN|SEED|KEY|DATABASE_URL)$", variable)


@pytest.mark.parametrize("name", NAMES)
def test_its_environment_is_settings_that_the_agent_takes(name: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"chain_url": "ws://chain", "classes": "[x]", "settings": {"log_level": "debug"}}
    if name == "miner":
        given |= {
            "axon_ip": "203.0.113.5",
            "axon_port": 80,
            "executor_advertise": "gw",
            "consul_urls": ["http://c"],
        }
    elif name == "validator":
        given |= {"facilitator_urls": ["wss://f/ws/v0/"]}
    environ = {
        variable: re.sub(
            r"\$\{NOMAD_(IP|PORT)_\w+}", lambda found: {"IP": "::1", "PORT": "80"}[found[1]], text
        )
        for variable, text in task_of(agent(name, **given))["Env"].items()
    }
    (tmp_path / "file.toml").write_text('database_url = "postgresql://db/x"\n')
    settings: Any = load_settings(AGENTS[name], name, tmp_path / "file.toml", environ)
    assert (settings.operator_host, settings.operator_port, settings.log_level) == ("::1", 80, "debug")
    assert (settings.chain_url, settings.netuid) == ("ws://chain", 12)
    if name == "miner":
        assert settings.consul_urls == ["http://c"]
        assert str(settings.consul_token_file) == "/secrets/consul.token"


def test_miner_has_identities_for_nomad_and_consul_in_files() -> None:
    job = agent("miner", consul_urls=["https://c"], nomad_urls=["https://n"])
    task = task_of(job)
    (consul,) = task["Identities"]
    assert (task["Identity"]["File"], task["Identity"]["Env"]) == (True, False)
    assert (consul["Name"], consul["Audience"]) == ("consul_default", ["consul.io"])
    token = templates_of(job)["secrets/consul.token"]
    assert (token["Perms"], token["Uid"], token["ChangeMode"]) == ("0400", 10001, "noop")
    assert task["Env"]["HORDE_MINER_NOMAD_TOKEN_FILE"] == "/secrets/nomad_token"


def test_consul_without_acls_asks_for_no_identity() -> None:
    job = agent("miner", consul_acl=False, consul_urls=["http://c"])
    (service,) = group_of(job)["Services"]
    assert not task_of(job)["Identities"]
    assert service["Identity"] is None
    assert "secrets/consul.token" not in templates_of(job)
    assert "HORDE_MINER_CONSUL_TOKEN_FILE" not in task_of(job)["Env"]


def test_miner_keeps_its_certificate_on_a_volume_or_its_own_disk() -> None:
    named = agent("miner", data_volume="miner-7")
    own = agent("miner")
    assert group_of(named)["Volumes"]["data"]["Source"] == "miner-7"
    (mount,) = task_of(named)["VolumeMounts"]
    assert task_of(named)["Env"]["HORDE_MINER_DATA_DIR"] == mount["Destination"]
    assert group_of(own)["Volumes"] is None
    assert (group_of(own)["EphemeralDisk"]["Sticky"], group_of(own)["EphemeralDisk"]["Migrate"]) == (
        True,
        True,
    )
    assert task_of(own)["Env"]["HORDE_MINER_DATA_DIR"] == "/alloc/data/miner"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"image": ""}, "must be named by digest"),
        ({"image": "registry.example/horde/agents:latest"}, "must be named by digest"),
        ({"image": "registry.example/horde/agents@sha256:12"}, "must be named by digest"),
        ({"node_pool": "horde-gpu"}, "must not run on gpu nodes"),
        ({"priority": 40}, "above that of the holders"),
        ({"user": "root"}, "not root"),
        ({"user": "10001"}, "a name, not a number"),
        ({"operator_port": 65536}, "A port is 0 to 65535"),
        ({"drain_s": 0}, "The drain time"),
        ({"settings": {"database_url": "postgresql://u:p@h/d"}}, "put secrets into the Nomad variable"),
        ({"settings": {"HORDE_SECRET": "x"}}, "put secrets into the Nomad variable"),
        ({"secret_files": ["../hotkey"]}, "An item's name"),
    ],
    ids=str,
)
def test_wrong_variable_is_refused_in_a_sentence(name: str, wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecRefused, match=sentence):
        agent(name, **wrong)


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("miner", {"uid": 1.5}, "A UID is a whole number"),
        ("miner", {"uid": 65536}, "A UID is a whole number"),
        ("miner", {"horde": "My Horde"}, "A horde's name"),
        ("miner", {"executor_port": 0}, "A port for executors"),
        ("validator", {"name": "miner-1"}, "The name must be validator"),
        ("validator", {"facilitator_urls": ["https://f"]}, "begins with wss://"),
        ("facilitator", {"name": "holder-x"}, "The name must be facilitator"),
    ],
    ids=str,
)
def test_wrong_variable_of_one_agent_is_refused(name: str, wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecRefused, match=sentence):
        agent(name, **wrong)


@pytest.mark.parametrize("name", NAMES)
def test_agent_runs_on_the_machines_that_are_named(name: str) -> None:
    def places(job: dict[str, Any]) -> list[tuple[str, str]]:
        found = [each for each in job["Constraints"] if "node.unique.name" in each["LTarget"]]
        return [(each["Operand"], each["RTarget"]) for each in found]

    assert places(agent(name, machines=["m1", "m2"])) == [("set_contains_any", "m1,m2")]
    assert places(agent(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_s_name_that_would_be_two_is_refused(name: str) -> None:
    with pytest.raises(SpecRefused, match="no comma"):
        agent(name, machines=["m1,m2"])
