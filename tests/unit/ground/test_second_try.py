"""A failed run's second try: green for what passes alone, red for everything else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_FLAKY = """
from pathlib import Path
def test_fails_once():
    mark = Path("mark")
    seen = mark.exists()
    mark.touch()
    assert seen
"""
_DEFECT = "def test_fails():\n    assert False\n"
_GOOD = "def test_passes():\n    pass\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of tests that note how their run ended as the project's own do."""
    shutil.copy(_ROOT / "tests/conftest.py", tmp_path / "conftest.py")
    text = (tmp_path / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(text[: text.index("pytest_plugins")] + text[text.index("def ") :])
    (tmp_path / "test_good.py").write_text(_GOOD)
    return tmp_path


def run(project: Path) -> int:
    return subprocess.run([sys.executable, "-m", "pytest"], cwd=project, capture_output=True).returncode


def second_try(project: Path) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, str(_ROOT / "tools/second_try.py")], cwd=project, capture_output=True, text=True
    )
    return ran.returncode, ran.stdout


def test_what_passes_alone_is_named_and_green(project: Path) -> None:
    (project / "test_flaky.py").write_text(_FLAKY)
    assert run(project) == 1
    code, printed = second_try(project)
    assert code == 0
    assert "mend it: test_flaky.py::test_fails_once" in printed


def test_what_fails_again_is_red(project: Path) -> None:
    (project / "test_flaky.py").write_text(_FLAKY)
    (project / "test_defect.py").write_text(_DEFECT)
    run(project)
    assert second_try(project)[0] == 1


def test_tests_that_share_a_folder_are_tried_again_whatever_their_number(project: Path) -> None:
    for number in range(5):
        (project / f"test_flaky_{number}.py").write_text(_FLAKY.replace('"mark"', f'"mark-{number}"'))
    run(project)
    code, printed = second_try(project)
    assert (code, printed.count("UNRELIABLE")) == (0, 5)


def test_failures_in_many_folders_are_not_tried_again(project: Path) -> None:
    for number in range(4):
        (project / f"part{number}").mkdir()
        flaky = _FLAKY.replace('"mark"', f'"mark-{number}"')
        (project / f"part{number}" / f"test_flaky_{number}.py").write_text(flaky)
    run(project)
    code, printed = second_try(project)
    assert (code, "4 tests are noted, in 4" in printed) == (1, True)


def test_run_that_broke_off_is_not_tried_again(project: Path) -> None:
    (project / "test_flaky.py").write_text(_FLAKY)
    (project / "test_later.py").write_text("def test_stops():\n    raise KeyboardInterrupt\n")
    assert run(project) == 2
    assert second_try(project)[0] == 1


def test_run_that_never_was_is_red(project: Path) -> None:
    assert second_try(project)[0] == 1
