"""The timeline fits its width and keeps order, whatever the instants."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.cli.timeline import Mark, timeline

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def marks_at(*seconds: float) -> list[Mark]:
    return [Mark(f"state{index}", NOON + timedelta(seconds=s)) for index, s in enumerate(seconds)]


def test_a_long_stage_has_the_longest_bar() -> None:
    short, long, _ = timeline(marks_at(0, 1, 10))
    assert long.count("█") > 5 * short.count("█")


def test_each_line_starts_with_its_state_and_offset() -> None:
    lines = timeline(marks_at(0, 0.25))
    assert lines[1].split()[:3] == ["state1", "0.250", "s"]


def test_no_marks_draw_nothing() -> None:
    assert timeline([]) == []


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12).map(sorted), st.integers(40, 200))
def test_no_line_is_wider_than_asked(seconds: list[float], width: int) -> None:
    assert all(len(line) <= width for line in timeline(marks_at(*seconds), width))
