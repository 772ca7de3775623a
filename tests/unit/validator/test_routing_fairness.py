"""Prices, reliability and several classes: what they change in routing, and that nobody starves by them."""

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.validator.prices import MOST_PRICE_MICRO, Prices, sane_prices
from horde_agents.agents.validator.reactions import incident_weight
from horde_agents.agents.validator.reliability import DECLINE_WEIGHT, Reliability
from horde_agents.agents.validator.routing import MICRO, Choice, Facts, Miner, route
from horde_agents.jobs.events import Declined, Finished, HordeFailed, JobEvent, JobFailed
from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason, RejectionReason
from horde_agents.jobs.states import Role
from horde_agents.protocol.signing import Hotkey

SMALL, LARGE = "always_on.gpu.a100-40gb", "always_on.gpu.h100"  # weights 5 and 12
HALF_LIFE_S = 3600.0


def miners(count: int) -> list[Miner]:
    return [Miner(Hotkey(f"m{n}"), "127.0.0.1", 8000) for n in range(count)]


def first_choices(known: list[Miner], classes: list[str], facts: Facts, draws: int) -> Counter[str]:
    rng, first = Random(5), Counter[str]()
    for _ in range(draws):
        order = route(known, classes, facts, rng)
        assert isinstance(order, tuple)
        first[order[0].miner.hotkey] += 1
    return first


def test_the_cheapest_class_comes_first_and_the_others_after_it() -> None:
    facts = Facts({"m0": {LARGE: 9}, "m1": {SMALL: 1}, "m2": {SMALL: 1, LARGE: 1}})
    order = route(miners(3), [LARGE, SMALL], facts, Random(1))
    assert isinstance(order, tuple)
    assert [choice.executor_class for choice in order] == [SMALL, SMALL, LARGE, LARGE]
    assert {choice.miner.hotkey for choice in order[:2]} == {"m1", "m2"}


def test_a_class_whose_executors_are_all_busy_gives_way_to_the_next() -> None:
    facts = Facts({"m0": {SMALL: 1, LARGE: 1}}, busy={SMALL: {"m0": 1}})
    assert route(miners(1), [SMALL, LARGE], facts, Random(1)) == (Choice(miners(1)[0], LARGE),)


def test_announced_prices_decide_which_class_is_cheapest() -> None:
    prices = {"m0": {LARGE: MICRO}}
    facts = Facts({"m0": {LARGE: 1, SMALL: 1}}, price_micro=prices)
    order = route(miners(1), [SMALL, LARGE], facts, Random(1))
    assert isinstance(order, tuple)
    assert order[0].executor_class == LARGE


def test_one_miner_that_lies_about_its_price_does_not_move_the_order_of_classes() -> None:
    offered = {f"m{n}": {SMALL: 1, LARGE: 1} for n in range(9)}
    facts = Facts(offered, price_micro={"m0": {LARGE: 1}})
    order = route(miners(9), [SMALL, LARGE], facts, Random(1))
    assert isinstance(order, tuple)
    assert [choice.executor_class for choice in order] == [SMALL] * 9 + [LARGE] * 9


def test_a_cheaper_miner_is_preferred_and_takes_not_everything() -> None:
    facts = Facts({f"m{n}": {SMALL: 1} for n in range(5)}, price_micro={"m0": {SMALL: 1}})
    first = first_choices(miners(5), [SMALL], facts, 4000)
    assert 0.30 < first["m0"] / 4000 < 0.37  # twice the weight of each of four others
    assert min(first.values()) > 4000 * 0.14


def test_no_reliable_miner_with_free_executors_starves() -> None:
    """The simulation: large and cheap miners beside small and dear ones, ten thousand jobs."""
    known, rng = miners(64), Random(11)
    offered = {str(miner.hotkey): {SMALL: rng.choice([4, 40])} for miner in known}
    prices = {str(miner.hotkey): {SMALL: rng.choice([1, 5 * MICRO, MOST_PRICE_MICRO])} for miner in known}
    first = first_choices(known, [SMALL], Facts(offered, price_micro=prices), 20_000)
    total = sum(counts[SMALL] for counts in offered.values())
    for hotkey, counts in offered.items():  # a price halves or doubles a chance at most, so a quarter is left
        assert first[hotkey] > 0.1 * 20_000 * counts[SMALL] / total


def test_a_miner_that_fails_gets_less_and_comes_back_as_its_faults_fade() -> None:
    reliability = Reliability(HALF_LIFE_S)
    for n in range(20):
        reliability.tried("bad", n)
        reliability.incident("bad", n)
        reliability.tried("good", n)
    fresh = reliability.factor("bad", 20)
    assert 0 < fresh < 0.1
    assert reliability.factor("good", 20) == reliability.factor("new", 20) == 1.0
    assert reliability.factor("bad", 20 + 8 * HALF_LIFE_S) > 0.9


def test_a_miner_that_answers_nobody_loses_as_much_as_one_that_fails() -> None:
    """The original counted neither timeouts nor unreachable miners (wire note J 20)."""
    silent = HordeFailed(Role.VALIDATOR, HordeFaultReason.MINER_CONNECTION_FAILED)
    late = HordeFailed(Role.VALIDATOR, HordeFaultReason.EXECUTION_TIMED_OUT)
    broken = HordeFailed(Role.MINER, HordeFaultReason.EXECUTOR_DISCONNECTED)
    assert {incident_weight(event) for event in (silent, late, broken)} == {1.0}


@pytest.mark.parametrize(
    "event",
    [
        Finished(Role.MINER),
        JobFailed(Role.MINER, JobFaultReason.NONZERO_RETURN_CODE, exit_status=3),
        HordeFailed(Role.VALIDATOR, HordeFaultReason.UNHANDLED_EXCEPTION),
    ],
)
def test_what_is_not_the_miners_fault_is_no_incident(event: JobEvent) -> None:
    assert incident_weight(event) == 0.0


def test_an_unexcused_decline_weighs_less_than_a_lost_job() -> None:
    assert incident_weight(Declined(Role.MINER, RejectionReason.BUSY)) == DECLINE_WEIGHT < 1


def test_events_that_come_out_of_order_leave_the_same_record() -> None:
    one, other = Reliability(HALF_LIFE_S), Reliability(HALF_LIFE_S)
    for at_s in (0.0, 500.0, 9000.0):
        one.tried("m", at_s)
        one.incident("m", at_s)
    for at_s in (9000.0, 0.0, 500.0):
        other.tried("m", at_s)
        other.incident("m", at_s)
    assert math.isclose(one.factor("m", 9000.0), other.factor("m", 9000.0))


@pytest.mark.parametrize(
    "announced",
    [
        None, 7, "cheap", [SMALL], {SMALL: -1}, {SMALL: 0}, {SMALL: 1.5}, {SMALL: math.nan}, {SMALL: True},
        {SMALL: "1"}, {SMALL: 10**30}, {SMALL: None}, {"quantum": 5}, {5: 5},
        {f"c{n}": 1 for n in range(9999)},
    ],
)  # fmt: skip
def test_a_price_that_cannot_be_meant_is_none(announced: Any) -> None:
    assert sane_prices(announced) == {}
    prices = Prices()
    prices.note("m", {SMALL: 3})
    prices.note("m", announced)
    assert prices.all() == {}


def test_one_wrong_price_spoils_no_other() -> None:
    assert sane_prices({SMALL: 3, LARGE: -3, "quantum": 1}) == {SMALL: 3}


NUMBERS = st.integers(-(10**20), 10**20)


@given(
    st.dictionaries(
        st.sampled_from(["m0", "m1", "m2"]), st.dictionaries(st.sampled_from([SMALL, LARGE]), NUMBERS)
    ),
    st.dictionaries(st.sampled_from(["m0", "m1", "m2"]), st.floats(0, 1)),
    st.integers(),
)
def test_no_number_of_a_manifest_breaks_routing(
    offered: dict[str, dict[str, int]], favour: dict[str, float], seed: int
) -> None:
    order = route(miners(3), [SMALL, LARGE], Facts(offered, favour=favour), Random(seed))
    has_any = any(count > 0 for counts in offered.values() for count in counts.values())
    assert isinstance(order, tuple) == has_any
