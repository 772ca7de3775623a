"""Instants of batches lie inside their seats, overlap nothing, and synthetic work keeps to its share."""

from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.validator.synthetic import plan
from horde_agents.agents.validator.synthetic.plan import (
    Pace,
    batch_block,
    bounded_share,
    challenge_blocks,
    halved,
    sampled,
    shuffled,
)
from horde_agents.scoring.cycles import Cycle, Seat

_RNG = Random(7)
_SEAT = Seat("own", 100, 130)
_PACE = Pace(before_blocks=4, after_blocks=3)
_CYCLE = Cycle(1, 100, 722)
_COUNTS = st.dictionaries(
    st.sampled_from("abcdef"), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 300))
)


def test_a_batch_begins_and_ends_inside_its_seat() -> None:
    drawn = {batch_block(_SEAT, _PACE, 0, Random(seed)) for seed in range(400)}
    assert drawn == set(range(104, 128))


def test_tasks_may_be_made_before_the_seat_but_not_before_now() -> None:
    pace = Pace(before_blocks=44, after_blocks=3, making_blocks=40)
    assert {batch_block(_SEAT, pace, 0, Random(seed)) for seed in range(400)} == set(range(104, 128))
    assert {batch_block(_SEAT, pace, 82, Random(seed)) for seed in range(100)} == {126, 127}
    assert batch_block(_SEAT, pace, 84, _RNG) is None


def test_a_seat_that_has_begun_gives_what_is_left_of_it() -> None:
    drawn = {batch_block(_SEAT, _PACE, 120, Random(seed)) for seed in range(100)}
    assert drawn == {124, 125, 126, 127}


@pytest.mark.parametrize("block", [124, 129, 500])
def test_a_seat_without_room_gives_no_batch(block: int) -> None:
    assert batch_block(_SEAT, _PACE, block, _RNG) is None


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(100, 900))
def test_challenges_overlap_neither_the_batch_nor_each_other(seed: int, count: int, not_before: int) -> None:
    blocks = challenge_blocks(_CYCLE, 300, _PACE, not_before, count, Random(seed))
    everything = sorted([*blocks, 300])
    assert len(blocks) <= count
    assert all(b - a >= _PACE.whole_blocks for a, b in pairwise(everything))
    assert all(not_before + 4 <= block <= _CYCLE.end_block - 3 for block in blocks)


def test_a_cycle_without_room_gives_fewer_challenges() -> None:
    assert len(challenge_blocks(Cycle(1, 0, 20), 10, _PACE, 0, 9, _RNG)) < 3


@given(st.fractions(0, 1), st.integers(1, 100_000), st.integers(1, 64), st.integers(1, 4000))
def test_all_validators_together_keep_to_the_share(
    share: Fraction, cycle_s: int, seats: int, job_s: int
) -> None:
    part = plan.tested_share(share, cycle_s, seats, job_s)
    assert part <= 1
    assert part == Fraction(1, 4096) or part * job_s * seats <= share * cycle_s


def test_a_share_is_a_power_of_a_half() -> None:
    assert [halved(Fraction(text)) for text in ("2", "1", "0.99", "0.5", "0.3", "0")] == [
        1,
        1,
        Fraction(1, 2),
        Fraction(1, 2),
        Fraction(1, 4),
        Fraction(1, 4096),
    ]


@given(_COUNTS, st.integers(0, 12))
def test_every_miner_and_class_is_represented_and_none_is_asked_for_more_than_it_offers(
    offered: dict[str, dict[str, int]], halvings: int
) -> None:
    asked = sampled(offered, Fraction(1, 2**halvings))
    for miner, classes in offered.items():
        for name, count in classes.items():
            assert (0 if count == 0 else 1) <= asked[miner].get(name, 0) <= count


@given(_COUNTS)
def test_a_horde_that_does_not_change_is_sampled_alike(offered: dict[str, dict[str, int]]) -> None:
    assert sampled(offered, Fraction(1, 4)) == sampled(offered, Fraction(1, 4))


@given(_COUNTS, st.integers(1, 200))
def test_a_batch_is_bounded(offered: dict[str, dict[str, int]], most: int) -> None:
    asked = sampled(offered, bounded_share(offered, Fraction(1), most))
    least = sum(1 for classes in offered.values() for count in classes.values() if count)
    assert sum(sum(classes.values()) for classes in asked.values()) <= max(most, least)


def test_the_order_of_offers_is_drawn() -> None:
    counts = {"a": {"x": 20}, "b": {"x": 20}}
    orders = {tuple(shuffled(counts, Random(seed))) for seed in range(5)}
    assert len(orders) == 5
    assert all(sorted(order) == [("a", "x")] * 20 + [("b", "x")] * 20 for order in orders)
