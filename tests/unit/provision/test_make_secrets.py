"""Secrets are random, made once, read by their owner alone, and never printed."""

import base64
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).parents[3] / "roles" / "secrets" / "files" / "make_secrets.py"


def _run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, _PROGRAM, *words], capture_output=True, text=True, check=False)


def test_what_is_missing_is_made_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    said = _run(folder, "key:consul/gossip", "token:consul/agents/gpu1")
    assert (said.returncode, said.stdout) == (0, "consul/gossip\nconsul/agents/gpu1\n")
    assert len(base64.b64decode((folder / "consul/gossip").read_text())) == 32
    assert uuid.UUID((folder / "consul/agents/gpu1").read_text()).version == 4


def test_what_is_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    _run(folder, "token:nomad/management")
    before = (folder / "nomad/management").read_text()
    said = _run(folder, "token:nomad/management", "token:nomad/other")
    assert said.stdout == "nomad/other\n"
    assert (folder / "nomad/management").read_text() == before


def test_a_look_makes_nothing(tmp_path: Path) -> None:
    said = _run("--check", tmp_path / "secrets", "key:gossip")
    assert said.stdout == "gossip\n"
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    _run(folder, "key:consul/agents/gpu1")
    modes = {
        path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")
    }
    assert modes == {
        "secrets": 0o700,
        "secrets/consul": 0o700,
        "secrets/consul/agents": 0o700,
        "secrets/consul/agents/gpu1": 0o600,
    }


@pytest.mark.parametrize("opened", ["secrets", "secrets/gossip"])
def test_what_others_may_read_is_refused_with_the_remedy(tmp_path: Path, opened: str) -> None:
    folder = tmp_path / "secrets"
    _run(folder, "key:gossip")
    (tmp_path / opened).chmod(0o750)
    said = _run(folder, "key:gossip", "key:more")
    assert said.returncode == 1
    assert f"chmod -R go= {tmp_path / opened}" in said.stderr
    assert not (folder / "more").exists()


@pytest.mark.parametrize("word", ["password:x", "key:", "key:/etc/x", "key:../x"])
def test_a_word_that_is_none_is_refused(tmp_path: Path, word: str) -> None:
    said = _run(tmp_path / "secrets", word)
    assert said.returncode == 2
    assert word in said.stderr


def test_the_program_needs_no_package() -> None:
    isolated: list[str | Path] = [sys.executable, "-I", "-S", _PROGRAM, "--help"]
    assert subprocess.run(isolated, capture_output=True, check=False).returncode == 0
