"""What Nomad makes of the gpu nodes' chores: image_prefetch and gpu_probe."""

from typing import Any

import pytest

from tools.nomad_specs import NAMES, SpecRefused, parsed, spec_file

DIGEST = f"sha256:{'0' * 64}"
IMAGES = [f"registry.example/a@{DIGEST}", f"b@{DIGEST}"]
REQUIRED: dict[str, dict[str, Any]] = {"image_prefetch": {"images": IMAGES}, "gpu_probe": {}}


def task_of(job: dict[str, Any]) -> dict[str, Any]:
    (group,) = job["TaskGroups"]
    (task,) = group["Tasks"]
    return dict(task)


@pytest.mark.parametrize("name", REQUIRED)
def test_chore_runs_once_on_every_gpu_node_before_more_holders(name: str) -> None:
    job = parsed(name, {**REQUIRED[name], "run": "again"})
    assert (job["Type"], job["NodePool"], job["Priority"]) == ("sysbatch", "horde-gpu", 60)
    assert job["ID"] == name.replace("_", "-")
    assert job["Meta"] == {"run": "again"}
    assert (task_of(job)["Driver"], task_of(job)["User"]) == ("raw_exec", "horde")


def test_images_are_arguments_and_no_part_of_the_script() -> None:
    words = task_of(parsed("image_prefetch", {"images": IMAGES}))["Config"]["args"]
    assert words[2:] == ["pull", *IMAGES]
    assert DIGEST not in words[1]


def test_probe_asks_for_devices_only_when_told_to() -> None:
    (device,) = task_of(parsed("gpu_probe", {"gpus": 2}))["Resources"]["Devices"]
    assert (device["Name"], device["Count"]) == ("nvidia/gpu", 2)
    assert not task_of(parsed("gpu_probe", {}))["Resources"]["Devices"]


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("image_prefetch", {"images": []}, "at least one image"),
        ("image_prefetch", {"images": ["alpine:3"]}, "each by digest"),
        ("image_prefetch", {"images": [*IMAGES, "--all-tags"]}, "each by digest"),
        ("gpu_probe", {"gpus": 17}, "0 to 16 GPUs"),
    ],
    ids=str,
)
def test_wrong_variable_is_refused_in_a_sentence(name: str, wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecRefused, match=sentence):
        parsed(name, wrong)


@pytest.mark.parametrize("name", NAMES)
def test_variable_that_no_job_has_is_refused(name: str) -> None:
    with pytest.raises(SpecRefused, match="no_such"):
        parsed(name, {"no_such": "x"})
    assert "no_such" not in spec_file(name).read_text()
