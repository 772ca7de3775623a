"""What counts as dancing."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.scoring.dancing import dance
from horde_agents.scoring.weights import score
from tests.unit.scoring.facts import inputs, measured, neurons, passed

_SHARE = Fraction(1, 5)
_BOTH = frozenset({"a", "b"})


def _dance(now: dict[str, int], before: dict[str, int], measured_before: frozenset[str] = _BOTH) -> str:
    counts = [{uid: {"class": count} for uid, count in side.items()} for side in (now, before)]
    return dance(["a", "b"], counts[0], counts[1], measured_before, _SHARE).why_not


def test_executors_that_changed_their_uid_are_dancing() -> None:
    assert _dance({"a": 2, "b": 3}, {"a": 3, "b": 2}) == ""


def test_executors_that_appear_are_not_dancing() -> None:
    assert "0 of 5 executors moved" in _dance({"a": 9, "b": 2}, {"a": 3, "b": 2})


def test_executors_that_vanish_are_not_dancing() -> None:
    assert "0 of 5 executors moved" in _dance({"a": 1, "b": 2}, {"a": 3, "b": 2})


def test_too_few_moved_executors_are_not_dancing() -> None:
    assert "1 of 10 executors moved" in _dance({"a": 6, "b": 4}, {"a": 5, "b": 5})


def test_a_uid_without_an_earlier_measurement_spoils_the_bonus() -> None:
    assert "b was not measured" in _dance({"a": 2, "b": 3}, {"a": 5}, frozenset({"a"}))


def test_a_uid_that_was_measured_with_nothing_may_join_the_dance() -> None:
    assert _dance({"a": 2, "b": 3}, {"a": 5, "b": 0}) == ""


def test_one_uid_cannot_dance() -> None:
    assert dance(["a"], {"a": {"class": 1}}, {"a": {"class": 9}}, _BOTH, _SHARE).why_not


@given(st.integers(0, 50), st.integers(0, 50))
def test_swapping_the_counts_of_two_uids_moves_their_difference(one: int, other: int) -> None:
    done = dance(
        ["a", "b"],
        {"a": {"class": one}, "b": {"class": other}},
        {"a": {"class": other}, "b": {"class": one}},
        _BOTH,
        Fraction(0),
    )
    assert done.moved == abs(one - other)


def test_the_dancers_get_their_factor() -> None:
    found = (*neurons("a", "b", coldkey="dancer"), *neurons("x", "y", "c")[2:])
    now, before = measured(a=2, b=3, c=5), measured(a=3, b=2, c=5)
    result = score(
        inputs(
            found,
            passed("a", 5),
            passed("c", 10),
            now=now,
            before=before,
            measured_before=("a", "b", "c"),
            knobs={"dancing_bonus": "3/2"},
        )
    )
    assert {miner.hotkey: miner.bonus for miner in result.miners} == {
        "a": Fraction(3, 2),
        "b": Fraction(3, 2),
        "c": Fraction(1),
    }
    by_hotkey = {miner.hotkey: miner.weight for miner in result.miners}
    assert by_hotkey["c"] == 65_535
    assert by_hotkey["a"] == round(Fraction(65_535 * 3, 4))
