"""Who danced: executors that moved between a coldkey's UIDs, as measured, and nothing that looks like it."""

from fractions import Fraction

import pytest

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.dancing import movements
from horde_agents.scoring.facts import BatchCount
from horde_agents.scoring.inputs import Inputs
from horde_agents.scoring.weights import score
from tests.unit.scoring.cycle_facts import (
    CLASS,
    OTHER_CLASS,
    class_score,
    counted,
    cycle_inputs,
    neuron,
    organic,
    synthetic,
)

_NEURONS = (neuron(0, "a", "cold"), neuron(1, "b", "cold"), neuron(2, "c"), neuron(3, "d"))


def _counts(batch: str, **executors: int) -> tuple[BatchCount, ...]:
    return tuple(counted(hotkey, many, batch=batch) for hotkey, many in executors.items())


def _inputs(now: dict[str, int], before: dict[str, int], **changes: object) -> Inputs:
    works = [work for hotkey, many in now.items() for work in synthetic(hotkey, many=many)]
    counts, previous_counts = _counts("batch-1", **now), _counts("batch-0", **before)
    facts = {"neurons": _NEURONS, "counts": counts, "previous_counts": previous_counts}
    return cycle_inputs(works, **(facts | changes))


def _danced(now: dict[str, int], before: dict[str, int], **changes: object) -> bool:
    return movements(_inputs(now, before, **changes))["cold", CLASS].danced


def test_executors_that_moved_between_uids_of_a_coldkey_earn_the_bonus() -> None:
    found = score(_inputs({"a": 2, "b": 8, "c": 5}, {"a": 8, "b": 2, "c": 5}))
    assert Fraction(class_score(found, "a").points) == 2 * Fraction(13, 10)
    assert Fraction(class_score(found, "b").points) == 8 * Fraction(13, 10)
    assert Fraction(class_score(found, "c").points) == 5
    assert class_score(found, "a").bonus_why == "6 of 10 executors moved"


def test_the_bonus_counts_for_organic_points_too() -> None:
    inputs = _inputs({"a": 0, "b": 5}, {"a": 5, "b": 0})
    worked = cycle_inputs([organic("b", 600)], neurons=_NEURONS, counts=inputs.counts)
    danced = score(
        cycle_inputs(
            [organic("b", 600)],
            neurons=_NEURONS,
            counts=inputs.counts,
            previous_counts=inputs.previous_counts,
        )
    )
    assert Fraction(class_score(score(worked), "b").points) == 2
    assert Fraction(class_score(danced, "b").points) == Fraction(26, 10)


@pytest.mark.parametrize(("moved", "danced"), [(2, True), (1, False)])
def test_a_share_of_the_slots_must_have_moved(moved: int, danced: bool) -> None:
    assert _danced({"a": 5 - moved, "b": 5 + moved}, {"a": 5, "b": 5}) is danced


def test_the_share_and_the_bonus_are_settings() -> None:
    configuration = Configuration(class_weights={CLASS: 1}, dancing_share="0.7", dancing_bonus="3/2")
    assert not _danced({"a": 2, "b": 8}, {"a": 8, "b": 2}, configuration=configuration)
    found = score(_inputs({"a": 1, "b": 8}, {"a": 8, "b": 1}, configuration=configuration))
    assert Fraction(class_score(found, "b").points) == 12


@pytest.mark.parametrize(
    ("now", "before"),
    [
        ({"a": 9, "b": 9}, {"a": 5, "b": 5}),
        ({"a": 1, "b": 1}, {"a": 5, "b": 5}),
        ({"a": 5, "b": 0}, {"a": 5, "b": 5}),
        ({"a": 5, "b": 5}, {"a": 5, "b": 5}),
        ({"a": 14, "b": 0}, {"a": 10, "b": 0}),
    ],
)
def test_executors_that_only_appear_or_vanish_have_not_moved(
    now: dict[str, int], before: dict[str, int]
) -> None:
    assert not _danced(now, before)


def test_a_newcomer_among_the_uids_earns_nothing() -> None:
    assert not _danced({"a": 2, "b": 8}, {"a": 10})
    found = movements(_inputs({"a": 2, "b": 8}, {"a": 10}))["cold", CLASS]
    assert found.why_not == "b was not measured in the cycle before"


def test_a_new_coldkey_earns_nothing() -> None:
    assert not movements(_inputs({"d": 8}, {"a": 8}))["cold-d", CLASS].danced


def test_a_uid_that_hides_from_the_measurement_earns_nothing() -> None:
    assert not _danced({"a": 10}, {"a": 2, "b": 8})


def test_a_validator_that_missed_a_cycle_gives_no_bonus_to_anyone() -> None:
    found = movements(_inputs({"a": 2, "b": 8, "c": 3}, {}))
    assert not any(movement.danced for movement in found.values())
    later = movements(_inputs({}, {"a": 2, "b": 8, "c": 3}))
    assert not any(movement.danced for movement in later.values())


def test_a_uid_of_the_coldkey_that_is_no_miner_is_no_gap() -> None:
    with_validator = (*_NEURONS, neuron(4, "own validator", "cold"))
    assert _danced({"a": 2, "b": 8}, {"a": 8, "b": 2}, neurons=with_validator)


def test_moves_between_two_coldkeys_are_no_dance() -> None:
    found = movements(_inputs({"a": 5, "b": 5, "c": 1}, {"a": 1, "b": 5, "c": 5}))
    assert not any(movement.danced for movement in found.values())


def test_classes_dance_each_for_itself() -> None:
    now = (counted("a", 5, OTHER_CLASS), counted("b", 5), counted("a", 5), counted("b", 5, OTHER_CLASS))
    before = tuple(
        counted(hotkey, many, name, "batch-0")
        for hotkey, many, name in (
            ("a", 9, CLASS),
            ("b", 1, CLASS),
            ("a", 5, OTHER_CLASS),
            ("b", 5, OTHER_CLASS),
        )
    )
    found = movements(cycle_inputs(neurons=_NEURONS, counts=now, previous_counts=before))
    assert found["cold", CLASS].danced
    assert not found["cold", OTHER_CLASS].danced


def test_only_the_batch_that_fired_last_is_compared() -> None:
    earlier = tuple(
        BatchCount("batch-early", 50, hotkey, CLASS, many) for hotkey, many in (("a", 5), ("b", 5))
    )
    inputs = _inputs({"a": 2, "b": 8}, {"a": 8, "b": 2})
    both = cycle_inputs(
        neurons=_NEURONS, counts=(*inputs.counts, *earlier), previous_counts=inputs.previous_counts
    )
    assert movements(both) == movements(inputs)
