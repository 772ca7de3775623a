"""Rows that a subnet limits: exact, within the limit, and as the stock SDK would leave them."""

from bittensor.intents.weights import clip_to_max_weight, normalize
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.validator.weights.clipping import U16, clipped

_ROWS = st.lists(st.integers(1, U16), min_size=1, max_size=40)


def test_a_row_within_the_limit_stays_as_it_is() -> None:
    assert clipped((20_000, 65_535), U16) == (20_000, 65_535)
    assert clipped((65_535, 65_535), 32_768) == (65_535, 65_535)


def test_what_is_above_the_cut_is_cut_and_the_rest_keeps_its_proportion() -> None:
    assert clipped((65_535, 10_000, 5_000, 5_000), U16 // 2) == (65_535, 32_769, 16_385, 16_385)


def test_a_row_too_short_for_the_limit_is_even() -> None:
    assert clipped((65_535, 1), 1000) == (65_535, 65_535)


@given(_ROWS, st.integers(1, U16))
def test_a_clipped_row_keeps_to_the_limit_and_the_order(values: list[int], limit: int) -> None:
    row = clipped(values, limit)
    assert len(values) * limit <= U16 or max(row) * U16 <= limit * sum(row)
    for index, value in enumerate(values):
        assert all(row[index] <= row[other] for other, more in enumerate(values) if more >= value)


@given(_ROWS, st.integers(1, U16))
def test_the_stock_sdk_leaves_a_clipped_row_alone(values: list[int], limit: int) -> None:
    top = max(values)
    row = clipped([-(-value * U16 // top) for value in values], limit)
    _, sent = normalize(
        list(range(len(row))), clip_to_max_weight([float(value) for value in row], limit / U16)
    )
    assert all(abs(a - b) <= 1 for a, b in zip(row, sent, strict=True))
