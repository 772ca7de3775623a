"""Waits grow to a cap and are spread, so that many peers do not come back at once."""

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.runtime.backoff import delays_s


@given(first_s=st.floats(0.01, 10), cap_s=st.floats(10, 1000), seed=st.integers(), count=st.integers(1, 40))
def test_each_wait_is_between_half_and_all_of_its_doubling_up_to_the_cap(
    first_s: float, cap_s: float, seed: int, count: int
) -> None:
    for step, delay_s in enumerate(islice(delays_s(first_s, cap_s, Random(seed)), count)):
        whole_s = min(first_s * 2**step, cap_s)
        assert whole_s / 2 <= delay_s <= whole_s


def test_two_peers_wait_differently() -> None:
    one, other = (list(islice(delays_s(1, 30, Random(seed)), 5)) for seed in (1, 2))
    assert one != other
