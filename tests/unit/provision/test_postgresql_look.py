"""What is seen of a machine's PostgreSQL, from which follows who is the primary and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = Path(__file__).parents[3] / "roles" / "postgresql" / "files" / "look.py"


def _look(folder: Path) -> dict[str, Any]:
    words: list[str | Path] = [
        sys.executable,
        _PROGRAM,
        folder / "bin",
        folder / "data",
        folder / "conf",
        "1",
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True)
    seen: dict[str, Any] = json.loads(said.stdout)
    return seen


def _data(folder: Path, version: str = "15") -> Path:
    data = folder / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text(f"{version}\n")
    return data


def _configure(folder: Path, data_dir: Path) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "postgresql.conf").write_text(f"port = 1\ndata_directory = '{data_dir}'\n")


def test_a_bare_machine_has_nothing_but_room(tmp_path: Path) -> None:
    seen = _look(tmp_path)
    assert (seen["version"], seen["is_empty"], seen["is_running"], seen["in_recovery"]) == (
        "",
        True,
        False,
        None,
    )
    assert seen["free_mib"] > 0


def test_data_that_nothing_of_ours_names_is_foreign(tmp_path: Path) -> None:
    _data(tmp_path, "13")
    seen = _look(tmp_path)
    assert (seen["version"], seen["is_empty"], seen["configured_data_dir"]) == ("13", False, "")


def test_data_that_was_configured_elsewhere_is_not_forgotten(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "PG_VERSION").write_text("15\n")
    _configure(tmp_path, other)
    seen = _look(tmp_path)
    assert (seen["configured_data_dir"], seen["configured_has_data"]) == (str(other), True)


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ("data_directory = '/a'\ndata_directory = '/b'\n", "/b"),
        ("  data_directory '/b' # the disk\n", "/b"),
        ("data_directory=/b\n", "/b"),
        ("Data_Directory = '/b'\n", "/b"),
        ("#data_directory = '/a'\n", ""),
    ],
)
def test_a_setting_is_read_as_postgresql_reads_it(tmp_path: Path, lines: str, place: str) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "postgresql.conf").write_text(lines)
    assert _look(tmp_path)["configured_data_dir"] == place


def test_a_standby_and_a_fenced_primary_are_known(tmp_path: Path) -> None:
    data = _data(tmp_path)
    _configure(tmp_path, data)
    assert (_look(tmp_path)["has_standby_signal"], _look(tmp_path)["is_fenced"]) == (False, False)
    (data / "standby.signal").touch()
    (tmp_path / "conf" / "start.conf").write_text("disabled\n")
    assert (_look(tmp_path)["has_standby_signal"], _look(tmp_path)["is_fenced"]) == (True, True)


def test_a_machine_on_which_it_has_run_is_known_without_its_data(tmp_path: Path) -> None:
    _configure(tmp_path, tmp_path / "data")
    assert (_look(tmp_path)["has_run"], _look(tmp_path)["is_empty"]) == (False, True)
    (tmp_path / "conf" / "start.conf").write_text("auto\n")
    assert (_look(tmp_path)["has_run"], _look(tmp_path)["is_empty"]) == (True, True)


def test_a_number_that_another_process_has_by_now_is_not_a_server(tmp_path: Path) -> None:
    data = _data(tmp_path)
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    assert _look(tmp_path)["is_running"] is False
