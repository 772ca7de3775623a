"""A slow step shows itself, and a failed one says why."""

from pathlib import Path

import pytest

from tools.setup.progress import SetupFailed, last_words, run, step


def test_step_says_that_it_begins_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with step("Debian packages"):
        pass
    begun, ended = capsys.readouterr().err.splitlines()
    assert begun == "  Debian packages …"
    assert ended.startswith("  Debian packages: done in ")


def test_step_that_takes_long_shows_elapsed_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ""
    with step("slow", tick_s=0.01):
        while "    slow: 0 s" not in shown:
            shown += capsys.readouterr().err


def test_failed_step_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SetupFailed), step("doomed"):
        raise SetupFailed
    assert "done" not in capsys.readouterr().err


def test_failed_command_is_shown_with_its_last_words(tmp_path: Path) -> None:
    script = "import sys; print('the disk is full', file=sys.stderr); sys.exit(3)"
    with pytest.raises(SetupFailed, match=r"ended with 3\.(?s:.*)the disk is full$") as failed:
        run(["python3", "-c", script], log="trial", logs=tmp_path)
    assert str(tmp_path / "trial.log") in str(failed.value)


def test_last_words_are_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    words = last_words(log, lines=2)
    assert words.endswith("line 98\nline 99")
    assert "line 97" not in words
