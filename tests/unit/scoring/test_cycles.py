"""Cycle arithmetic and seats."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.scoring.cycles import ROTATING_SEATS, TOP_SEATS, cycle_at, cycle_of, seats

_SEED = bytes(range(32))


@pytest.mark.parametrize(("netuid", "first", "end"), [(12, 708, 1430), (174, 546, 1268)])
def test_block_1000_lies_where_the_subnet_counts_it(netuid: int, first: int, end: int) -> None:
    cycle = cycle_of(1000, netuid)
    assert (cycle.first_block, cycle.end_block) == (first, end)


@given(st.integers(0, 10**9), st.integers(0, 65_535), st.integers(1, 5000))
def test_every_block_lies_in_its_cycle_alone(block: int, netuid: int, length: int) -> None:
    cycle = cycle_of(block, netuid, length)
    assert cycle.has(block)
    assert cycle_at(cycle.number, netuid, length) == cycle
    assert cycle_at(cycle.number + 1, netuid, length).first_block == cycle.end_block


def test_the_block_that_begins_a_cycle_belongs_to_it() -> None:
    assert cycle_of(708, 12).number == cycle_of(709, 12).number == cycle_of(707, 12).number + 1


def test_a_cycle_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle_blocks"):
        cycle_of(1, 12, 0)


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 10**15), max_size=70), st.integers(0, 500))
def test_seats_divide_the_cycle_without_overlap(stake_rao: dict[str, int], number: int) -> None:
    cycle = cycle_at(number, 12)
    found = seats(cycle, stake_rao, _SEED)
    assert len(found) == min(len(stake_rao), TOP_SEATS + ROTATING_SEATS)
    assert len({seat.hotkey for seat in found}) == len(found)
    for seat, after in itertools.pairwise(found):
        assert seat.first_block < seat.end_block == after.first_block
    if found:
        assert cycle.first_block < found[0].first_block
        assert found[-1].end_block == cycle.end_block


@given(st.permutations(list(range(30))))
def test_seats_do_not_depend_on_the_order_in_which_validators_are_read(order: list[int]) -> None:
    stake_rao = {f"key-{number}": number for number in order}
    assert seats(cycle_at(5, 12), stake_rao, _SEED) == seats(
        cycle_at(5, 12), dict(sorted(stake_rao.items())), _SEED
    )


def test_the_richest_sit_in_every_cycle_and_the_others_in_turn() -> None:
    stake_rao = {f"rich-{n}": 1000 + n for n in range(TOP_SEATS)} | {f"poor-{n}": n for n in range(5)}
    seen: list[str] = []
    for number in range(5):
        names = {seat.hotkey for seat in seats(cycle_at(number, 12), stake_rao, _SEED)}
        assert {f"rich-{n}" for n in range(TOP_SEATS)} <= names
        seen += [name for name in names if name.startswith("poor")]
    assert sorted(seen) == sorted([f"poor-{n}" for n in range(5)] * ROTATING_SEATS)


def test_another_seed_gives_another_order() -> None:
    stake_rao = {f"key-{n}": 1 for n in range(20)}
    one, other = (seats(cycle_at(3, 12), stake_rao, seed) for seed in (b"1", b"2"))
    assert [seat.hotkey for seat in one] != [seat.hotkey for seat in other]
