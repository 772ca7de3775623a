"""Which Nomad and Consul are good enough, where builds lie, and what is said where there is no Go."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tools.setup.servers import CONSUL, FAKE_GPUS, NOMAD, SERVERS, built, program, version_in, why_no_go


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("Nomad v1.11.3\nBuildDate 2026-01-01", (1, 11, 3)),
        ("Nomad v2.0.7", (2, 0, 7)),
        ("Consul v1.22.7\nRevision abc", (1, 22, 7)),
        ("Version  : v1.8.0", (1, 8, 0)),
        ("Version  : git", None),
    ],
)
def test_version_is_read_from_what_a_program_says(said: str, version: tuple[int, int, int] | None) -> None:
    assert version_in(said) == version


@pytest.mark.parametrize("said", [None, "go version go1.21.3 linux/amd64", "what?"])
def test_missing_or_old_go_is_named_with_the_remedy(said: str | None) -> None:
    assert "Install Go 1.26" in (why_no_go(said) or "")


def test_go_that_is_new_enough_builds() -> None:
    assert why_no_go("go version go1.26.8 linux/amd64") is None


def test_changed_pin_is_built_at_another_place(tmp_path: Path) -> None:
    other = shutil.copytree(CONSUL.source, tmp_path / "consul")
    (other / "go.mod").write_text((other / "go.mod").read_text() + "// another pin\n")
    moved = replace(CONSUL, module=str(other))
    assert built(CONSUL, tmp_path) != built(moved, tmp_path)


def test_changed_plugin_does_not_build_nomad_again() -> None:
    assert FAKE_GPUS.own_files()
    assert NOMAD.own_files() == []
    assert built(NOMAD).parent.name.split("-")[-1] != built(FAKE_GPUS).parent.name.split("-")[-1]


def test_go_mod_names_the_version_that_is_said_to_be_built() -> None:
    for server in SERVERS:
        if server is not FAKE_GPUS:
            module = server.package.partition("/cmd/")[0]
            assert f"{module} v{server.version}" in (server.source / "go.mod").read_text()


def test_set_up_has_put_every_server_in_place() -> None:
    for server in SERVERS:
        assert program(server).exists()
