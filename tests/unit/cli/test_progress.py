"""A job's progress is a bar on a terminal, and nothing elsewhere."""

import io

import pytest
from rich.console import Console

from horde_agents.cli.progress import travelling
from horde_agents.jobs.states import JobState


def drawn(*statuses: str, is_terminal: bool, quiet: bool = False) -> str:
    """What is printed on the way through ``statuses``."""
    sink = io.StringIO()
    console = Console(file=sink, force_terminal=is_terminal, width=80, color_system=None)
    with travelling("12345678-0000", quiet=quiet, console=console) as reached:
        for status in statuses:
            reached(status)
    return sink.getvalue()


def test_a_terminal_shows_the_job_and_where_it_is() -> None:
    text = drawn("sent", "received", "completed", is_terminal=True)
    assert "12345678  completed" in text
    assert "━" in text


@pytest.mark.parametrize(("is_terminal", "quiet"), [(False, False), (True, True)])
def test_nothing_is_drawn_for_scripts(is_terminal: bool, quiet: bool) -> None:
    assert drawn("sent", "failed", is_terminal=is_terminal, quiet=quiet).strip("\x1b[?25lh\n") == ""


def test_every_status_can_be_shown() -> None:
    for state in JobState:
        assert state.value in drawn(state.value, is_terminal=True)
