"""gpu_probe and image_prefetch on a real gpu node, with fake GPUs."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.nomad_jobs.conftest import GPUS, GpuNode
from tools.nomad_specs import parsed

pytestmark = pytest.mark.docker

ROWS = "\n".join(f"GPU-{number}, NVIDIA RTX A6000, 49140, 580.95.05" for number in range(3))
MISSING = f"127.0.0.1:5001/horde/none@sha256:{'0' * 64}"


@pytest.fixture
def nvidia_smi(tmp_path: Path) -> Path:
    """Answers as NVIDIA's does."""
    file = tmp_path / "nvidia-smi"
    file.write_text(
        f"#!/bin/sh\n[ $1 = -L ] && echo 'GPU 0: NVIDIA RTX A6000 (UUID: GPU-0)' || echo '{ROWS}'\n"
    )
    file.chmod(0o755)
    return file


def probe(node: GpuNode, **given: Any) -> dict[str, Any]:
    node.run(parsed("gpu_probe", {"user": "root", "python": sys.executable, **given}))
    allocation = node.ended("gpu-probe")
    assert allocation["ClientStatus"] == "complete", node.log("gpu-probe", "probe", "stderr")
    (line,) = node.log("gpu-probe", "probe").splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


def test_probe_reports_what_nvidia_smi_says(gpu_node: GpuNode, nvidia_smi: Path) -> None:
    report = probe(gpu_node, run="with nvidia-smi", nvidia_smi=str(nvidia_smi))
    assert report["node"] == "gpu-node"
    assert (report["asked"], report["devices"], report["gpus"]) == (0, [], GPUS)
    assert report["listing"] == ["GPU 0: NVIDIA RTX A6000 (UUID: GPU-0)"]


def test_probe_reports_what_nomad_gave_where_there_is_no_nvidia_smi(gpu_node: GpuNode) -> None:
    report = probe(gpu_node, run="without", gpus=2, nvidia_smi="/nowhere/nvidia-smi")
    assert len(set(report["devices"])) == 2
    assert set(report["devices"]) <= {gpu["uuid"] for gpu in GPUS}
    assert report["gpus"] == []
    assert "/nowhere/nvidia-smi" in report["nvidia_smi"]


def test_prefetch_pulls_what_it_can_and_fails_for_the_rest(gpu_node: GpuNode, job_image: str) -> None:
    job = parsed("image_prefetch", {"user": "root", "docker": "docker", "images": [MISSING, job_image]})
    job["TaskGroups"][0]["RestartPolicy"]["Attempts"] = 0
    gpu_node.run(job)
    assert gpu_node.ended("image-prefetch")["ClientStatus"] == "failed"
    lines = [json.loads(line) for line in gpu_node.log("image-prefetch", "pull").splitlines()]
    assert [(line["node"], line["image"], line["pulled"]) for line in lines] == [
        ("gpu-node", MISSING, False),
        ("gpu-node", job_image, True),
    ]
