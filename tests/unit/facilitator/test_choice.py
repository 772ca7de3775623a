"""Without a wanted validator, a job goes to the live one whose load is lowest for its stake."""

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.facilitator.links import choose

HOTKEYS = st.sampled_from(["a", "b", "c", "d"])


def test_more_stake_takes_more_jobs_in_proportion() -> None:
    live, load = {"large": 300, "small": 100}, {"large": 0, "small": 0}
    for _ in range(40):
        load[choose(live, load) or ""] += 1
    assert load == {"large": 30, "small": 10}


def test_among_equals_the_less_loaded_is_chosen() -> None:
    assert choose({"a": 5, "b": 5}, {"a": 1}) == "b"


def test_validators_without_stake_share_by_load_alone() -> None:
    assert choose({"a": 0, "b": 0}, {"a": 3, "b": 2}) == "b"


@given(st.dictionaries(HOTKEYS, st.integers(0, 10**18)), st.dictionaries(HOTKEYS, st.integers(0, 1000)))
def test_whoever_is_chosen_is_live_and_nobody_is_less_burdened(
    live: dict[str, int], load: dict[str, int]
) -> None:
    chosen = choose(live, load)
    assert (chosen is None) is (not live)
    if chosen is not None:
        burden = {hotkey: (load.get(hotkey, 0) + 1) / max(stake, 1) for hotkey, stake in live.items()}
        assert burden[chosen] == min(burden.values())
