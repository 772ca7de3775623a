"""From points to u16 weights: classes, burning, the metagraph, rounding."""

import pytest

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import Outcome, Work
from horde_agents.scoring.weights import score
from tests.unit.scoring.cycle_facts import (
    CLASS,
    OTHER_CLASS,
    by_uid,
    class_score,
    cycle_inputs,
    miner,
    neuron,
    organic,
    synthetic,
)

_TWO_CLASSES = {CLASS: 1, OTHER_CLASS: 3}


def _other(hotkey: str, many: int) -> list[Work]:
    return synthetic(hotkey, many=many, executor_class=OTHER_CLASS)


def test_the_largest_weight_is_65535_and_others_follow_in_proportion() -> None:
    works = [*synthetic("a", many=3), *synthetic("b", many=1), *synthetic("c", many=2)]
    assert by_uid(score(cycle_inputs(works))) == {0: 65535, 1: 21845, 2: 43690}


def test_a_tiny_part_is_never_rounded_to_nothing() -> None:
    works = [*(organic("a", 604_800, limit_us=604_800_000_000) for _ in range(400)), *synthetic("b")]
    counts = cycle_inputs(works, share="1/1", length_blocks=10**7)
    assert by_uid(score(counts)) == {0: 65535, 1: 1}


def test_points_are_compared_inside_each_class_and_weighted_by_class() -> None:
    works = [*synthetic("a", many=1000), *_other("b", 2), *_other("c", 1)]
    found = score(cycle_inputs(works, configuration=Configuration(class_weights=_TWO_CLASSES)))
    assert [miner(found, hotkey).share_ppb for hotkey in "abc"] == [250_000_000, 500_000_000, 250_000_000]


def test_a_class_without_a_weight_gives_nothing() -> None:
    works = [*synthetic("a"), *_other("b", 9)]
    found = score(cycle_inputs(works, configuration=Configuration(class_weights={CLASS: 1, OTHER_CLASS: 0})))
    assert by_uid(found) == {0: 65535}
    assert by_uid(score(cycle_inputs(works))) == {0: 65535}
    assert class_score(found, "b", OTHER_CLASS).points == "9"


def test_the_weight_of_a_class_in_which_nobody_scored_goes_to_the_others() -> None:
    weights = {CLASS: 1, OTHER_CLASS: 3, "always_on.gpu.h200": 96}
    works = [*synthetic("a"), *_other("b", 1)]
    found = score(cycle_inputs(works, configuration=Configuration(class_weights=weights)))
    assert [miner(found, hotkey).share_ppb for hotkey in "ab"] == [250_000_000, 750_000_000]


def test_the_weight_of_a_class_in_which_all_failed_goes_to_the_others() -> None:
    works = [*synthetic("a"), *synthetic("b", Outcome.FAILED, executor_class=OTHER_CLASS)]
    found = score(cycle_inputs(works, configuration=Configuration(class_weights=_TWO_CLASSES)))
    assert by_uid(found) == {0: 65535}
    assert miner(found, "a").share_ppb == 1_000_000_000


def test_a_cycle_in_which_all_failed_gives_no_weights() -> None:
    found = score(cycle_inputs(synthetic("a", Outcome.FAILED)))
    assert (found.uids, [part.weight for part in found.miners]) == ((), [0])


def test_halves_are_rounded_up() -> None:
    assert by_uid(score(cycle_inputs([*synthetic("a", many=2), *synthetic("b")]))) == {0: 65535, 1: 32768}


def test_a_cycle_in_which_nobody_scored_gives_no_weights() -> None:
    found = score(cycle_inputs())
    assert (found.uids, found.weights, found.miners) == ((), (), ())


def test_a_burn_rate_goes_to_the_registered_burn_hotkeys() -> None:
    configuration = Configuration(
        class_weights={CLASS: 1}, burn_rate="0.6", burn_hotkeys=("b", "c", "nobody")
    )
    found = score(cycle_inputs(synthetic("a"), configuration=configuration))
    assert by_uid(found) == {0: 65535, 1: 49151, 2: 49151}
    assert miner(found, "b").burn_ppb == 300_000_000
    assert miner(found, "a").share_ppb == 400_000_000


def test_nothing_burns_while_no_burn_hotkey_is_registered() -> None:
    configuration = Configuration(class_weights={CLASS: 1}, burn_rate="0.6", burn_hotkeys=("nobody",))
    found = score(cycle_inputs(synthetic("a"), configuration=configuration))
    assert by_uid(found) == {0: 65535}
    assert found.burn_rate == "0"


def test_the_burnt_part_is_set_though_nobody_scored() -> None:
    configuration = Configuration(class_weights={CLASS: 1}, burn_rate="0.1", burn_hotkeys=("b",))
    assert by_uid(score(cycle_inputs(configuration=configuration))) == {1: 65535}


def test_all_of_it_may_burn() -> None:
    configuration = Configuration(class_weights={CLASS: 1}, burn_rate="1", burn_hotkeys=("b",))
    assert by_uid(score(cycle_inputs(synthetic("a"), configuration=configuration))) == {1: 65535}


def test_a_uid_registered_anew_gets_nothing_of_the_old_hotkey_s_work() -> None:
    neurons = (neuron(0, "stranger"), neuron(1, "b"))
    found = score(cycle_inputs([*synthetic("a", many=9), *synthetic("b")], neurons=neurons))
    assert by_uid(found) == {1: 65535}
    assert miner(found, "a").dropped == "its hotkey is not registered any more"
    assert class_score(found, "b").class_points == "1"


def test_a_hotkey_that_got_another_uid_takes_its_work_along() -> None:
    found = score(cycle_inputs(synthetic("a"), neurons=(neuron(7, "a"), neuron(0, "stranger"))))
    assert by_uid(found) == {7: 65535}


def test_a_validator_gives_itself_no_weight() -> None:
    found = score(cycle_inputs([*synthetic("validator", many=9), *synthetic("a")]))
    assert by_uid(found) == {0: 65535}
    assert miner(found, "validator").dropped == "a validator's verdicts on itself prove nothing"


def test_a_validator_that_is_a_burn_hotkey_burns_to_itself() -> None:
    configuration = Configuration(class_weights={CLASS: 1}, burn_rate="0.5", burn_hotkeys=("validator",))
    found = score(cycle_inputs(synthetic("a"), configuration=configuration))
    assert by_uid(found) == {0: 65535, 3: 65535}


@pytest.mark.parametrize("hotkey", ["a", "b"])
def test_shares_of_a_miner_in_all_classes_sum_to_its_own(hotkey: str) -> None:
    works = [*synthetic("a", many=3), *_other("a", 2), *synthetic("b", many=4), *_other("b", 1)]
    found = miner(score(cycle_inputs(works, configuration=Configuration(class_weights=_TWO_CLASSES))), hotkey)
    assert abs(sum(part.share_ppb for part in found.classes) - found.share_ppb) <= 1
