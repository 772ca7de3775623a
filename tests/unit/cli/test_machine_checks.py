"""What doctor makes of this machine: clock, versions, certificates, and what an operator waives."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import BaseModel

from horde_agents.cli.checks.certificates import first_end, machine_certificate_findings
from horde_agents.cli.checks.files import file_findings
from horde_agents.cli.checks.finding import fine, wrong
from horde_agents.cli.checks.machine import clock_finding, disk_findings, docker_finding, kernel_clock
from horde_agents.cli.checks.versions import floors, local_findings, numbers
from horde_agents.cli.checks.waivers import Waivers, profiles
from horde_agents.runtime.clock import now

UNSYNC = 0x40


def test_a_clock_that_nothing_keeps_is_wrong_and_one_in_step_is_fine() -> None:
    assert "chronyc tracking" in clock_finding((UNSYNC | 1, 16_000_000)).says
    assert not clock_finding((UNSYNC, 0)).fine
    assert clock_finding((0x2001, 1_500)).says == "in step to 0.002 s"


def test_the_kernel_tells_its_clock() -> None:
    status, error_us = kernel_clock()
    assert 0 <= status <= 0xFFFF
    assert 0 <= error_us <= 16_000_000


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("runc version 1.1.5+ds1", (1, 1, 5)),
        ("NVIDIA Container Toolkit CLI version 1.19.1", (1, 19, 1)),
        ("580.95.05", (580, 95, 5)),
        ("6.1.0-18-amd64", (6, 1, 0)),
        ("Nomad v2.0.5", (2, 0, 5)),
        ("no number", ()),
    ],
)
def test_the_version_in_a_text_is_its_first_numbers(said: str, version: tuple[int, ...]) -> None:
    assert numbers(said) == version


def test_a_program_below_its_floor_is_named_with_reason_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, said in (("runc", "runc version 1.3.2"), ("nvidia-ctk", "CLI version 1.19.1\ncommit: 9")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    found = {finding.check: finding for finding in local_findings()}
    assert "this machine has 1.3.2; below 1.3.3 a container can write outside itself" in found["runc"].says
    assert found["runc"].says.endswith(floors()["runc"].remedy)
    assert found["nvidia-container-toolkit"] == fine("nvidia-container-toolkit", "1.19.1")
    assert "nvidia-driver" not in found  # there is none here


def test_a_floor_says_who_says_so_and_when_that_was_read() -> None:
    assert floors()
    for floor in floors().values():
        assert floor.source
        assert floor.as_of.year >= 2026


def test_what_is_waived_becomes_a_note_that_says_so() -> None:
    old = wrong("runc", "too old")
    assert Waivers(["clock"]).applied(old) is old
    waived = Waivers(["runc"]).applied(old)
    assert (waived.fine, waived.note, waived.says) == (True, True, "waived: too old")
    assert Waivers(["runc"]).applied(fine("runc", "1.3.3")).says == "1.3.3"


def test_the_test_profile_waives_what_it_names_and_nothing_else() -> None:
    waivers = Waivers(profile="test")
    assert set(profiles()["test"]) == {"clock", "runc", "nomad"}
    assert waivers.applied(wrong("runc", "too old")).says == "waived by profile test: too old"
    assert not waivers.applied(wrong("kernel", "too old")).fine


class Settings(BaseModel):
    consul_ca_file: Path | None = None
    nomad_certificate_file: Path | None = None
    hotkey_file: Path | None = None
    nomad_token_file: Path | None = None


def certificate(folder: Path, days: int) -> Path:
    key, at = ec.generate_private_key(ec.SECP256R1()), now()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(at - timedelta(days=400))
        .not_valid_after(at + timedelta(days=days, hours=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{days}.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.mark.parametrize(
    ("days", "is_fine", "said"),
    [(31, True, "holds until"), (29, False, "in 29 days; renew it"), (-1, False, "has expired on")],
)
def test_a_certificate_is_renewed_before_it_ends(tmp_path: Path, days: int, is_fine: bool, said: str) -> None:
    (found,) = file_findings(Settings(consul_ca_file=certificate(tmp_path, days), hotkey_file=tmp_path))
    assert (found.check, found.fine) == ("certificate consul_ca", is_fine)
    assert said in found.says


def test_the_first_certificate_of_a_bundle_to_end_counts(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificate(tmp_path, 300).read_bytes() + certificate(tmp_path, 3).read_bytes())
    (found,) = file_findings(Settings(nomad_certificate_file=both))
    assert "in 3 days" in found.says


def test_a_file_that_is_no_certificate_is_named_with_its_setting(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    settings = Settings(consul_ca_file=text, nomad_certificate_file=tmp_path / "none")
    said = [finding.says for finding in file_findings(settings) if not finding.fine]
    assert "is no PEM certificate; correct setting 'consul_ca_file'" in said[0]
    assert "cannot be read" in said[1]


@pytest.mark.parametrize(("mode", "said"), [(0o604, "is readable by everybody"), (0o600, ""), (0o640, "")])
def test_a_secret_that_everybody_may_read_is_named(tmp_path: Path, mode: int, said: str) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(mode)
    found = "".join(finding.says for finding in file_findings(Settings(nomad_token_file=token)))
    assert said in found
    assert bool(found) == bool(said)


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    (found,) = file_findings(Settings(nomad_token_file=tmp_path / "none"))
    assert (found.check, found.fine) == ("secret nomad_token", False)
    assert "correct it (setting 'nomad_token_file')" in found.says


def test_a_time_of_four_digits_of_a_year_is_read(tmp_path: Path) -> None:
    file = certificate(tmp_path, 365 * 60)
    assert first_end(file.read_text()).year == (now() + timedelta(days=365 * 60, hours=1)).year


def test_a_machine_s_folders_tell_which_certificate_ends_first(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, days in ((good, (100, 40)), (bad, (300, 3))):
        folder.mkdir()
        for each in days:
            certificate(folder, each)
        (folder / "key.pem").write_text("-----BEGIN EC PRIVATE KEY-----\n")
    places = {good: "run a", bad: "run b", tmp_path / "none": "run c"}
    found = list(machine_certificate_findings(now(), places))
    assert [(finding.check, finding.fine) for finding in found] == [
        (f"certificates {good}", True),
        (f"certificates {bad}", False),
    ]
    assert found[0].says.startswith("2 hold until")
    assert "3.pem expires on" in found[1].says
    assert found[1].says.endswith("run b")


def test_an_authority_is_not_renewed_as_what_it_signed(tmp_path: Path) -> None:
    certificate(tmp_path, 3).rename(tmp_path / "consul-ca.pem")
    [found] = machine_certificate_findings(now(), {tmp_path: "run a"})
    assert "consul-ca.pem expires on" in found.says
    assert "rotate=authorities" in found.says
    assert "run a" not in found.says


def test_one_file_system_is_told_once(tmp_path: Path) -> None:
    (found,) = disk_findings([tmp_path, tmp_path.parent])
    assert "GiB free at" in found.says


def test_docker_that_does_not_answer_is_named_with_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    said = docker_finding().says
    assert f"no daemon answers at unix://{tmp_path}/none.sock" in said
    assert said.endswith("Start it: systemctl start docker")
