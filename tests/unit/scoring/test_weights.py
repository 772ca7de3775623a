"""From facts to weights."""

import json
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.scoring.facts import InputsWrong, Outcome, Tally, read_inputs
from horde_agents.scoring.weights import LARGEST, Result, score
from tests.unit.scoring.facts import CLASS, OTHER, inputs, measured, neurons, organic, passed

TWO = neurons("a", "b")


def _points(result: Result, hotkey: str, name: str = CLASS) -> Fraction:
    return next(miner for miner in result.miners if miner.hotkey == hotkey).classes[name].points.total


def test_each_synthetic_job_that_passed_makes_a_point() -> None:
    result = score(inputs(TWO, passed("a", 3), passed("b", 1)))
    assert result.weights == {0: LARGEST, 1: round(Fraction(LARGEST, 3))}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED_BADLY, Outcome.NOT_RUN])
def test_a_synthetic_job_that_did_not_pass_makes_none(outcome: Outcome) -> None:
    result = score(inputs(TWO, passed("a"), passed("b", 5, outcome=outcome)))
    assert result.weights == {0: LARGEST}


def test_what_was_not_run_takes_nothing_away() -> None:
    alone = score(inputs(TWO, passed("a", 2), passed("b", 2)))
    beside = score(inputs(TWO, passed("a", 2), passed("b", 2), passed("b", 9, outcome=Outcome.NOT_RUN)))
    assert beside.weights == alone.weights


def test_an_excused_job_makes_a_point() -> None:
    result = score(inputs(TWO, passed("a"), passed("b", outcome=Outcome.EXCUSED)))
    assert result.weights == {0: LARGEST, 1: LARGEST}


def test_organic_time_makes_a_point_for_each_300_seconds() -> None:
    assert _points(score(inputs(TWO, organic("a", 750))), "a") == Fraction(5, 2)


def test_a_user_with_little_work_still_makes_a_point() -> None:
    result = score(inputs(TWO, organic("a", 1, "one"), organic("a", 2, "two")))
    assert _points(result, "a") == 2


def test_a_user_without_any_work_makes_none() -> None:
    assert _points(score(inputs(TWO, organic("a", 0), passed("a"))), "a") == 1


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED_BADLY, Outcome.NOT_RUN])
def test_organic_work_that_failed_earns_nothing(outcome: Outcome) -> None:
    assert _points(score(inputs(TWO, organic("a", 900, outcome=outcome))), "a") == 0


def test_a_job_that_the_horde_ended_earns_its_proven_time() -> None:
    assert _points(score(inputs(TWO, organic("a", 600, outcome=Outcome.HORDE_ENDED))), "a") == 2


def test_organic_work_is_capped_by_the_validators_share_of_measured_executors() -> None:
    # 10 executors · 3600 s · 1/2 / 300 s = 60 points
    result = score(inputs(TWO, organic("a", 10**6)))
    assert _points(result, "a") == 60
    assert result.miners[0].classes[CLASS].points.organic_uncapped == Fraction(10**6, 300)


def test_many_users_do_not_go_beyond_the_cap() -> None:
    work = [organic("a", 1, f"user-{number}") for number in range(500)]
    assert _points(score(inputs(TWO, *work)), "a") == 60


def test_executors_that_were_not_measured_earn_no_organic_points() -> None:
    result = score(inputs(TWO, organic("a", 3600), now=measured(b=10)))
    assert _points(result, "a") == 0


def test_classes_weigh_as_configured() -> None:
    result = score(inputs(TWO, passed("a"), passed("b", name=OTHER)))
    assert result.weights == {0: round(Fraction(LARGEST, 3)), 1: LARGEST}


def test_the_weight_of_a_class_without_points_goes_to_the_others() -> None:
    result = score(inputs(TWO, passed("a"), passed("b", name=OTHER, outcome=Outcome.FAILED)))
    assert result.weights == {0: LARGEST}


def test_a_class_without_weight_scores_nothing() -> None:
    result = score(inputs(TWO, passed("a"), passed("b", name=OTHER), knobs={"class_weights": {CLASS: 1}}))
    assert result.weights == {0: LARGEST}


def test_a_uid_that_was_registered_to_another_takes_nothing_over() -> None:
    result = score(inputs(TWO, passed("a"), passed("b"), registered={0: "a", 1: "newcomer"}))
    assert result.weights == {0: LARGEST}


def test_a_miner_that_nobody_registered_gets_nothing() -> None:
    assert score(inputs(TWO, passed("stranger", 100), passed("a"))).weights == {0: LARGEST}


def test_without_any_work_there_are_no_weights() -> None:
    assert score(inputs(TWO)).weights == {}


def test_the_burn_takes_its_part() -> None:
    knobs = {"burn_rate": "3/4", "burn_hotkeys": ["b"]}
    result = score(inputs(TWO, passed("a"), knobs=knobs))
    assert result.weights == {0: round(Fraction(LARGEST, 3)), 1: LARGEST}


def test_a_burn_without_a_registered_hotkey_takes_nothing() -> None:
    knobs = {"burn_rate": "3/4", "burn_hotkeys": ["nobody"]}
    assert score(inputs(TWO, passed("a"), knobs=knobs)).weights == {0: LARGEST}


def test_a_limit_of_executors_bounds_the_allowance() -> None:
    knobs = {"max_executors_per_class": {CLASS: 1}}
    assert _points(score(inputs(TWO, organic("a", 10**6), knobs=knobs)), "a") == 6


_TALLIES = st.lists(
    st.builds(
        Tally,
        miner_hotkey=st.sampled_from(["a", "b", "c", "stranger"]),
        executor_class=st.sampled_from([CLASS, OTHER]),
        is_organic=st.booleans(),
        user_hotkey=st.sampled_from(["", "u", "v"]),
        outcome=st.sampled_from(list(Outcome)),
        jobs=st.integers(0, 10**6),
        paid_us=st.integers(0, 10**13),
    ),
    max_size=30,
)


@given(_TALLIES, st.randoms())
def test_the_order_of_the_facts_changes_no_byte(tallies: list[Tally], rng: Random) -> None:
    given_ = inputs(neurons("a", "b", "c"), *tallies)
    shuffled = list(tallies)
    rng.shuffle(shuffled)
    other = given_.model_copy(update={"tallies": tuple(shuffled), "neurons": given_.neurons[::-1]})
    assert score(given_).as_json() == score(other).as_json()
    assert given_.as_json() == other.as_json()


@given(_TALLIES)
def test_inputs_survive_their_text_and_score_the_same_bytes(tallies: list[Tally]) -> None:
    given_ = inputs(neurons("a", "b", "c"), *tallies, now=measured(a=3, b=1), before=measured(a=1, b=3))
    read = read_inputs(given_.as_json())
    assert read.as_json() == given_.as_json()
    assert score(read).as_json() == score(given_).as_json()


@given(_TALLIES)
def test_the_largest_weight_is_the_chains_largest(tallies: list[Tally]) -> None:
    weights = score(inputs(neurons("a", "b", "c"), *tallies)).weights
    assert not weights or max(weights.values()) == LARGEST
    assert all(weight > 0 for weight in weights.values())


@given(st.integers(1, 3600), st.integers(1, 3600))
def test_splitting_a_job_earns_no_more(one_s: int, other_s: int) -> None:
    whole = _points(score(inputs(TWO, organic("a", one_s + other_s))), "a")
    split = _points(score(inputs(TWO, organic("a", one_s), organic("a", other_s))), "a")
    assert split == whole


@pytest.mark.parametrize(
    "change", ['"cycle":-1', '"cycle":"7"', '"own_share":3', '"tallies":[{}]', '"cycle":1e30']
)
def test_wrong_inputs_are_refused_with_the_place(change: str) -> None:
    name = change.partition(":")[0].strip('"')
    value = json.loads(inputs(TWO).as_json())
    value[name] = json.loads("{" + change + "}")[name]
    with pytest.raises(InputsWrong, match=name):
        read_inputs(json.dumps(value))


def test_inputs_are_checked_whole() -> None:
    with pytest.raises(InputsWrong):
        read_inputs("[]")
