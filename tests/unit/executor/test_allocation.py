"""A holder's settings from what Nomad tells it."""

import pytest

from horde_agents.agents.executor.allocation import AllocationWrong, allocation_settings

_GIVEN = {
    "NOMAD_ALLOC_ID": "a1",
    "NOMAD_META_index": "3",
    "NOMAD_META_miners": "10.0.0.1:8443/" + "0" * 64,
    "HORDE_EXECUTOR_NODE_NAME": "gpu7",
    "HORDE_EXECUTOR_SHORT_CODE": "t",
}


def test_devices_name_the_slot_in_any_order() -> None:
    for order in ("GPU-b,GPU-a", "GPU-a,GPU-b"):
        settings = allocation_settings(_GIVEN | {"NVIDIA_VISIBLE_DEVICES": order})
        assert settings["HORDE_EXECUTOR_SLOT_ID"] == "gpu7:GPU-a+GPU-b"
        assert settings["HORDE_EXECUTOR_GPU_UUIDS"] == "GPU-a,GPU-b"


@pytest.mark.parametrize("none", ["", "void", "none"])
def test_holder_without_devices_has_its_class_and_index_in_the_slot(none: str) -> None:
    settings = allocation_settings(_GIVEN | {"NVIDIA_VISIBLE_DEVICES": none})
    assert settings["HORDE_EXECUTOR_SLOT_ID"] == "gpu7:cpu-t3"
    assert settings["HORDE_EXECUTOR_ALLOCATION_ID"] == "a1"


@pytest.mark.parametrize("inherited", ["0", "all", "GPU-a"])
def test_gpus_of_nomads_own_environment_are_nobodys(inherited: str) -> None:
    settings = allocation_settings(_GIVEN | {"NVIDIA_VISIBLE_DEVICES": inherited, "NOMAD_META_gpus": "0"})
    assert settings["HORDE_EXECUTOR_SLOT_ID"] == "gpu7:cpu-t3"
    assert settings["HORDE_EXECUTOR_GPU_UUIDS"] == ""


@pytest.mark.parametrize("given", ["", "void", "GPU-a", "GPU-a,GPU-b,GPU-c"])
def test_holder_with_other_than_its_classs_gpus_is_refused(given: str) -> None:
    with pytest.raises(AllocationWrong, match="has 2 GPUs, and NVIDIA_VISIBLE_DEVICES is"):
        allocation_settings(_GIVEN | {"NVIDIA_VISIBLE_DEVICES": given, "NOMAD_META_gpus": "2"})


@pytest.mark.parametrize(
    "missing",
    ["NOMAD_META_index", "NOMAD_META_miners", "HORDE_EXECUTOR_NODE_NAME", "HORDE_EXECUTOR_SHORT_CODE"],
)
def test_job_that_is_not_ours_is_refused_by_what_it_lacks(missing: str) -> None:
    given = {name: value for name, value in _GIVEN.items() if name != missing}
    with pytest.raises(AllocationWrong, match=missing):
        allocation_settings(given)


def test_environment_outside_of_nomad_stays_as_it_is() -> None:
    assert allocation_settings({"PATH": "/bin"}) == {"PATH": "/bin"}
