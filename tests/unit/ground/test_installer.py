"""Environments are installed from locks, by whichever Python and index configuration the machine has."""

import sys
from pathlib import Path

from tools.setup.installer import digest_of, fits, uv_environment
from tools.setup.lock import addresses_in
from tools.setup.places import REQUIREMENTS
from tools.setup.stock import STOCK, stock_folder
from tools.setup.venv import python_refusal


def test_uv_is_told_what_pip_was_told() -> None:
    told = uv_environment({"PIP_INDEX_URL": "https://mirror.example", "PIP_CERT": "/ca.pem", "HOME": "/h"})
    assert told["UV_DEFAULT_INDEX"] == "https://mirror.example"
    assert told["SSL_CERT_FILE"] == "/ca.pem"
    assert told["HOME"] == "/h"


def test_what_was_said_to_uv_itself_wins_over_pip() -> None:
    told = uv_environment(
        {"PIP_INDEX_URL": "https://for-pip.example", "UV_DEFAULT_INDEX": "https://for-uv.example"}
    )
    assert told["UV_DEFAULT_INDEX"] == "https://for-uv.example"


def test_empty_pip_variable_says_nothing_to_uv() -> None:
    assert "UV_NO_INDEX" not in uv_environment({"PIP_NO_INDEX": ""})


def test_digest_changes_with_any_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("b")
    before = digest_of(one, two)
    assert digest_of(one, two) == before
    two.write_text("c")
    assert digest_of(one, two) != before
    assert digest_of(one) != digest_of(one, two)


def test_environment_whose_python_is_gone_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}").mkdir(parents=True)
    python = tmp_path / "bin" / "python"
    python.symlink_to(sys.executable)
    assert fits(tmp_path)
    python.unlink()
    python.symlink_to(tmp_path / "removed")
    assert not fits(tmp_path)


def test_environment_of_another_python_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "lib" / "python3.9").mkdir(parents=True)
    assert not fits(tmp_path)


def test_old_python_is_named_with_the_package_that_helps() -> None:
    said = python_refusal((3, 9), "/usr/bin/python3")
    assert said is not None
    assert "/usr/bin/python3 is Python 3.9" in said
    assert "apt-get install -y python3.11" in said
    assert python_refusal((3, 11), "/usr/bin/python3.11") is None


def test_stock_environment_moves_when_its_lock_changes(tmp_path: Path) -> None:
    assert stock_folder("sdk", "a" * 64, tmp_path) != stock_folder("sdk", "b" * 64, tmp_path)


def test_every_lock_pins_hashes_and_names_no_index() -> None:
    locks = sorted(REQUIREMENTS.glob("*.txt"))
    assert {f"stock-{name}.txt" for name in STOCK} < {lock.name for lock in locks}
    for lock in locks:
        text = lock.read_text()
        assert addresses_in(text) == [], lock.name
        pinned = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
        assert pinned, lock.name
        assert all(line.endswith("\\") for line in pinned), f"{lock.name} has a requirement without hashes"


def test_address_in_a_lock_is_found() -> None:
    assert addresses_in("a==1\n--index-url https://x\n") == ["--index-url https://x"]
    assert addresses_in("a @ https://x/a.whl\n") == ["a @ https://x/a.whl"]
    assert addresses_in("--find-links wheels") == ["--find-links wheels"]
