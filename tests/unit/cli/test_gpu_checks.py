"""What doctor says of GPUs and services; programs stand in for nvidia-smi, docker and systemctl."""

import os
from pathlib import Path

import pytest

from horde_agents.cli.checks.finding import Finding
from horde_agents.cli.checks.gpus import gpu_findings
from horde_agents.cli.checks.units import unit_findings

TWO = "GPU-a, NVIDIA RTX A6000\nGPU-b, NVIDIA RTX A6000"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def stub(folder: Path, name: str, said: str, code: int = 0, errors: str = "") -> Path:
    """A program that says this; its arguments are in the file that is returned."""
    program, heard = folder / name, folder / f"{name}.heard"
    program.write_text(
        f"#!/bin/sh\necho \"$@\" > {heard}\ncat <<'END'\n{said}\nEND\n"
        f"cat >&2 <<'END'\n{errors}\nEND\nexit {code}\n"
    )
    program.chmod(0o755)
    return heard


def bus(folder: Path, *devices: tuple[str, str]) -> Path:
    for number, (vendor, kind) in enumerate(devices):
        device = folder / "bus" / f"0000:0{number}:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    return folder / "bus"


def found(folder: Path, image: str = "", *devices: tuple[str, str]) -> dict[str, Finding]:
    return {finding.check: finding for finding in gpu_findings(image, bus(folder, *devices))}


def test_a_machine_without_gpus_is_not_asked_for_a_driver(tmp_path: Path, programs: Path) -> None:
    assert found(tmp_path, "", ("0x8086", "0x030000"), ("0x10de", "0x040300")) == {}


def test_a_card_on_the_bus_without_a_driver_is_named(tmp_path: Path, programs: Path) -> None:
    said = found(tmp_path, "", ("0x10de", "0x030200"))["driver"]
    assert not said.fine
    assert "1 GPUs of NVIDIA's are on the PCI bus, and nvidia-smi is missing; install the driver" in said.says


def test_a_driver_that_does_not_answer_is_quoted(tmp_path: Path, programs: Path) -> None:
    words = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    stub(programs, "nvidia-smi", words, 9)
    said = found(tmp_path)["driver"]
    assert not said.fine
    assert words.rstrip(".") in said.says
    assert "dmesg --grep NVRM" in said.says


def test_a_card_that_fell_off_the_bus_is_counted(tmp_path: Path, programs: Path) -> None:
    stub(programs, "nvidia-smi", "GPU-a, NVIDIA H100")
    said = found(tmp_path, "", ("0x10de", "0x030200"), ("0x10de", "0x030200"))["driver"]
    assert "2 GPUs are on the PCI bus, and the driver has 1" in said.says


def test_gpus_are_fine_when_a_container_has_all_of_them(tmp_path: Path, programs: Path) -> None:
    stub(programs, "nvidia-smi", TWO)
    heard = stub(programs, "docker", TWO)
    seen = found(tmp_path, "horde/agent@sha256:1")
    assert (seen["driver"].fine, seen["driver"].says) == (True, "2 GPUs: 2 NVIDIA RTX A6000")
    assert seen["GPU in a container"].says == "it has all 2"
    assert "--network none --gpus all --entrypoint nvidia-smi horde/agent@sha256:1" in heard.read_text()


@pytest.mark.parametrize(
    ("inside", "code", "errors", "said"),
    [
        ("", 125, "could not select device driver", "has none: could not select device driver"),
        ("GPU-a, NVIDIA RTX A6000", 0, "", "it has 1 of 2, without GPU-b; run: systemctl restart docker"),
    ],
)
def test_a_container_without_all_gpus_is_wrong(
    tmp_path: Path, programs: Path, inside: str, code: int, errors: str, said: str
) -> None:
    stub(programs, "nvidia-smi", TWO)
    stub(programs, "docker", inside, code, errors)
    seen = found(tmp_path, "image")["GPU in a container"]
    assert not seen.fine
    assert said in seen.says


def test_without_an_image_the_container_is_a_note(tmp_path: Path, programs: Path) -> None:
    stub(programs, "nvidia-smi", TWO)
    seen = found(tmp_path)["GPU in a container"]
    assert (seen.fine, seen.note) == (True, True)
    assert "--gpu-image" in seen.says


def test_only_a_unit_that_shall_run_and_does_not_is_wrong(tmp_path: Path, programs: Path) -> None:
    stub(
        programs,
        "systemctl",
        "\n\n".join(
            f"Id={name}.service\nLoadState={load}\nUnitFileState={enabled}\nActiveState={active}\nNRestarts={restarts}"
            for name, load, enabled, active, restarts in [
                ("consul", "loaded", "enabled", "active", 0),
                ("nomad", "loaded", "enabled", "failed", 5),
                ("docker", "loaded", "disabled", "inactive", 0),
                ("horde-objects", "not-found", "", "inactive", 0),
            ]
        ),
    )
    seen = list(unit_findings(booted=tmp_path))
    assert [(finding.check, finding.fine) for finding in seen] == [
        ("unit consul", True),
        ("unit nomad", False),
    ]
    assert "it is failed, restarted 5 times; see why: journalctl -u nomad" in seen[1].says


def test_where_systemd_does_not_run_nothing_is_asked(tmp_path: Path) -> None:
    assert list(unit_findings(booted=tmp_path / "none")) == []
