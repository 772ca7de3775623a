"""What Nomad makes of holder.nomad.hcl, for every class of the catalogue."""

import re
from typing import Any

import pytest

from horde_agents.agents.executor.allocation import allocation_settings
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.miner.nomad.holder_jobs import class_variables
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.runtime.settings import load_settings
from tools.nomad_specs import SpecRefused, parsed

#: Devices as NVIDIA and its device plugin name them, with their memory in MiB.
DEVICES = [
    ("NVIDIA RTX A6000", 49140),
    ("NVIDIA GeForce RTX 4090", 24564),
    ("NVIDIA GeForce RTX 5090", 32607),
    ("NVIDIA L40S", 46068),
    ("NVIDIA A100-SXM4-40GB", 40960),
    ("NVIDIA A100-SXM4-80GB", 81920),
    ("NVIDIA A100 80GB PCIe", 81920),
    ("NVIDIA H100 80GB HBM3", 81559),
    ("NVIDIA H200", 143771),
    ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728),
    ("NVIDIA H100 80GB HBM3 MIG 1g.20gb", 20096),
    ("Tesla T4", 15360),
]
TEST_CLASS = class_variables(CATALOGUE["always_on.test"])
HOUR_NS = 3600 * 10**9


def holder(**given: Any) -> dict[str, Any]:
    return parsed("holder", {**TEST_CLASS, **given})


def device_of(job: dict[str, Any]) -> dict[str, Any] | None:
    (group,) = job["TaskGroups"]
    (task,) = group["Tasks"]
    devices = task["Resources"]["Devices"] or []
    assert len(devices) <= 1
    return devices[0] if devices else None


def accepts(device: dict[str, Any], model: str, memory_mib: int) -> bool:
    """Whether Nomad would take such a device, by the constraints that it got."""
    constraints = {each["LTarget"]: (each["Operand"], each["RTarget"]) for each in device["Constraints"]}
    operand, wanted = constraints.pop("${device.attr.memory}")
    assert operand == ">="
    number, unit = wanted.split()
    assert unit == "MiB"
    operand, pattern = constraints.pop("${device.model}")
    assert operand == "regexp"
    assert constraints == {}
    return memory_mib >= int(number) and re.search(pattern, model) is not None


@pytest.mark.parametrize("name", CATALOGUE)
def test_holder_of_a_class_asks_for_its_devices(name: str) -> None:
    row = CATALOGUE[name]
    job = parsed("holder", class_variables(row))
    device = device_of(job)
    assert job["ID"] == job["Name"] == f"holder-{row.short_code}"
    assert job["Meta"] == {"executor_class": name, "gpus": str(row.gpus)}
    if not row.needs_gpu:
        assert device is None
        return
    assert device is not None
    assert (device["Name"], device["Count"]) == ("nvidia/gpu", row.gpus)
    for model, memory_mib in DEVICES:
        assert accepts(device, model, memory_mib) == row.fits(model, memory_mib), model


def test_several_gpus_and_mig_are_devices_like_others() -> None:
    eight = device_of(parsed("holder", class_variables(CATALOGUE["always_on.gpu.h100.x8"])))
    mig = device_of(parsed("holder", class_variables(CATALOGUE["always_on.mig.a100-10gb"])))
    assert eight is not None
    assert mig is not None
    assert eight["Count"] == 8
    assert accepts(mig, "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728)
    assert not accepts(mig, "NVIDIA A100-SXM4-80GB", 81920)


def test_nomad_starts_a_holder_once_and_never_again() -> None:
    job = holder()
    (group,) = job["TaskGroups"]
    assert (job["Type"], job["NodePool"], job["Priority"]) == ("batch", "horde-gpu", 40)
    assert (group["RestartPolicy"]["Attempts"], group["RestartPolicy"]["Mode"]) == (0, "fail")
    assert (group["ReschedulePolicy"]["Attempts"], group["ReschedulePolicy"]["Unlimited"]) == (0, False)
    disconnect = group["Disconnect"]
    assert disconnect["LostAfter"] == 24 * HOUR_NS
    assert (disconnect["Replace"], disconnect["Reconcile"]) == (False, "keep_original")


def test_dispatch_takes_what_the_keeper_gives_and_no_payload() -> None:
    parameters = holder()["ParameterizedJob"]
    assert parameters["Payload"] == "forbidden"
    assert parameters["MetaRequired"] == ["horde", "miners", "index", "generation"]
    assert parameters["MetaOptional"] == ["attempt"]


def test_holder_runs_on_supported_linux_clients_as_a_user_of_its_own() -> None:
    job = holder()
    (group,) = job["TaskGroups"]
    (task,) = group["Tasks"]
    assert {(each["LTarget"], each["Operand"], each["RTarget"]) for each in job["Constraints"]} == {
        ("${attr.kernel.name}", "=", "linux"),
        ("${attr.nomad.version}", "semver", ">= 1.11.3"),
    }
    assert (task["Driver"], task["User"], task["KillSignal"]) == ("raw_exec", "horde", "SIGTERM")
    assert task["KillTimeout"] == 120 * 10**9
    assert (task["Resources"]["CPU"], task["Resources"]["MemoryMB"]) == (100, 256)
    assert (task["LogConfig"]["MaxFiles"], task["LogConfig"]["MaxFileSizeMB"]) == (3, 10)


def test_token_is_the_allocations_identity_in_a_file_that_is_renewed() -> None:
    (group,) = holder()["TaskGroups"]
    (task,) = group["Tasks"]
    (identity,) = task["Identities"]
    assert (identity["Name"], identity["Audience"], identity["TTL"]) == ("horde", ["horde"], HOUR_NS)
    assert (identity["File"], identity["Env"], identity["ChangeMode"]) == (True, False, "noop")
    assert task["Env"]["HORDE_EXECUTOR_TOKEN_FILE"] == "${NOMAD_SECRETS_DIR}/nomad_horde.jwt"
    assert "HORDE_EXECUTOR_TOKEN" not in task["Env"]
    assert task["Templates"] is None


def test_its_environment_is_settings_that_a_holder_takes() -> None:
    (group,) = holder(settings={"HORDE_EXECUTOR_CPUS": "4"})["TaskGroups"]
    given_by_nomad = {
        "NOMAD_ALLOC_ID": "a1",
        "NOMAD_META_index": "0",
        "NOMAD_META_miners": f"10.0.0.1:8443/{'ab' * 32}",
    }
    environ = allocation_settings({**group["Tasks"][0]["Env"], **given_by_nomad})
    settings = load_settings(ExecutorSettings, "executor", environ=environ)
    assert (settings.executor_class, settings.short_code, settings.cpus) == ("always_on.test", "t", 4)
    assert (settings.spin_up_s, settings.recycle_jobs, settings.recycle_s) == (3, 500, 86400)
    assert settings.lonely_s == 120


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"gpus": 17}, "0 to 16 GPUs"),
        ({"gpus": -1}, "0 to 16 GPUs"),
        ({"gpus": 1.5}, "0 to 16 GPUs"),
        ({"name": "executor-t"}, "must be holder-"),
        ({"name": "holder-a b"}, "must be holder-"),
        ({"executor_class": "Always On"}, "A class's name"),
        ({"short_code": ""}, "A short code"),
        ({"memory_mib": -1}, "not negative"),
        ({"spin_up_s": 0}, "is positive"),
        ({"priority": 80}, "below that of the agents"),
        ({"settings": {"HORDE_EXECUTOR_TOKEN": "x"}}, "its allocation's identity"),
    ],
    ids=str,
)
def test_wrong_variable_is_refused_in_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecRefused, match=sentence):
        holder(**wrong)
