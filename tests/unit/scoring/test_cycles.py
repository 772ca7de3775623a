"""Cycles cover every block once; seats are alike everywhere, never overlap and miss nobody for long."""

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horde_agents.scoring.cycles import TOP_SEATS, TURN_SEATS, Cycle, cycle_number, cycle_of, seats

_HASH = "0x" + "ab" * 32
_CYCLE = cycle_of(1000, 12)


def _stakes(many: int) -> dict[str, int]:
    return {f"hotkey-{index:03}": 1000 - index for index in range(many)}


def test_cycles_of_netuid_12_start_14_blocks_before_multiples_of_722() -> None:
    assert cycle_of(1000, 12) == Cycle(1, 708, 722)
    assert cycle_of(1000, 12).end_block == 1430
    assert cycle_of(0, 12) == Cycle(0, -14, 722)


def test_the_cycle_of_block_1000_of_netuid_174_is_the_known_one() -> None:
    assert (cycle_of(1000, 174).first_block, cycle_of(1000, 174).end_block) == (546, 1268)


def test_the_block_that_starts_a_cycle_belongs_to_it() -> None:
    assert cycle_of(708, 12).number == 1
    assert cycle_of(707, 12).number == 0


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(st.integers(0, 10**9), st.integers(0, 65535), st.integers(1, 5000))
def test_every_block_has_one_cycle_and_cycles_follow_each_other(block: int, netuid: int, length: int) -> None:
    cycle = cycle_of(block, netuid, length)
    assert cycle.holds(block)
    assert cycle == cycle_number(cycle.number, netuid, length)
    assert cycle_of(cycle.end_block, netuid, length) == cycle.next
    assert cycle.next.previous == cycle


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(st.integers(1, 80), st.integers(30, 2000))
def test_seats_share_the_cycle_out_behind_its_lead_without_gap_or_overlap(many: int, length: int) -> None:
    cycle = cycle_of(5000, 12, length)
    row = seats(_stakes(many), _HASH, cycle)
    assert row[0].first_block == cycle.first_block + length // 30
    assert row[-1].end_block == cycle.end_block
    assert all(one.end_block == other.first_block for one, other in pairwise(row))
    assert all(seat.first_block < seat.end_block for seat in row)
    assert len({seat.hotkey for seat in row}) == len(row)


def test_the_lead_of_722_blocks_is_24() -> None:
    assert seats({"a": 1}, _HASH, _CYCLE)[0].first_block == 708 + 24


def test_the_top_24_by_stake_have_a_seat_in_every_cycle() -> None:
    top = set(list(_stakes(60))[:TOP_SEATS])
    for number in range(20):
        seated = {seat.hotkey for seat in seats(_stakes(60), _HASH, cycle_number(number, 12))}
        assert top <= seated
        assert len(seated) == TOP_SEATS + TURN_SEATS


def test_all_others_have_their_turn_equally_often() -> None:
    many = 64
    others = many - TOP_SEATS
    turns = dict.fromkeys(list(_stakes(many))[TOP_SEATS:], 0)
    for number in range(others // TURN_SEATS * 3):
        for seat in seats(_stakes(many), _HASH, cycle_number(number, 12)):
            if seat.hotkey in turns:
                turns[seat.hotkey] += 1
    assert set(turns.values()) == {3}


def test_equal_stakes_are_ordered_by_hotkey() -> None:
    equal = dict.fromkeys(reversed(_stakes(TOP_SEATS + 30)), 7)
    seated = {seat.hotkey for seat in seats(equal, _HASH, _CYCLE)}
    assert set(sorted(equal)[:TOP_SEATS]) <= seated


def test_the_order_is_the_written_one_whatever_the_order_of_the_validators() -> None:
    stakes = _stakes(9)
    seed = bytes.fromhex("ab" * 32) + (1).to_bytes(8, "big")
    expected = sorted(stakes, key=lambda hotkey: sha256(seed + hotkey.encode()).digest())
    turned = dict(reversed(stakes.items()))
    assert [seat.hotkey for seat in seats(turned, _HASH, _CYCLE)] == expected
    assert seats(turned, _HASH, _CYCLE) == seats(stakes, _HASH.removeprefix("0x"), _CYCLE)


def test_another_hash_or_cycle_gives_another_order() -> None:
    orders = {
        tuple(seat.hotkey for seat in seats(_stakes(9), block_hash, cycle))
        for block_hash in (_HASH, "0x" + "cd" * 32)
        for cycle in (_CYCLE, _CYCLE.next)
    }
    assert len(orders) == 4


def test_a_cycle_shorter_than_the_row_of_validators_seats_those_with_most_stake() -> None:
    row = seats(_stakes(20), _HASH, cycle_of(100, 12, 10))
    assert {seat.hotkey for seat in row} == set(_stakes(10))
    assert all(seat.end_block - seat.first_block == 1 for seat in row)


def test_no_validators_have_no_seats() -> None:
    assert seats({}, _HASH, _CYCLE) == ()


@pytest.mark.parametrize("text", ["", "0x12", "nonsense", "zz" * 32])
def test_what_is_no_block_hash_seeds_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="is no block hash"):
        seats(_stakes(3), text, _CYCLE)


def test_the_seed_is_the_hash_of_a_block_that_is_final_when_the_cycle_starts() -> None:
    assert _CYCLE.seed_block == 705
    assert cycle_number(0, 12).seed_block == 0
