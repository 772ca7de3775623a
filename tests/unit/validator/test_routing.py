"""Who may get a job, in which order, and why nobody may."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.validator.routing import Facts, Miner, NoMiner, free_executors, route
from horde_agents.protocol.signing import Hotkey

CLASS = "always_on.test"
MINERS = [Miner(Hotkey(name), "127.0.0.1", 8000) for name in "abcdef"]
NAMES = st.sampled_from([miner.hotkey for miner in MINERS])


def offering(**counts: int) -> dict[str, dict[str, int]]:
    return {name: {CLASS: count} for name, count in counts.items()}


def test_reason_is_told_for_every_miner_when_nobody_is_left() -> None:
    facts = Facts(
        {"a": {}, "b": {CLASS: 1}, "c": {CLASS: 2}, "d": {CLASS: 1}},
        busy={CLASS: {"b": 1}},
        barred={"c": "timed out"},
        tried=frozenset("d"),
    )
    nobody = route(MINERS, [CLASS], facts, Random(1))
    assert isinstance(nobody, NoMiner)
    assert nobody.why == {
        "a": "offers no always_on.test",
        "b": "is busy with jobs of ours",
        "c": "gets no jobs now: timed out",
        "d": "has had an attempt of this job",
        "e": "has not told what it offers",
        "f": "has not told what it offers",
    }
    assert nobody.sentence == "None of 6 known miners can take the job."


def test_no_miner_at_all_is_said_differently() -> None:
    nobody = route([], [CLASS], Facts({}), Random(1))
    assert isinstance(nobody, NoMiner)
    assert "No miner is known" in nobody.sentence


def test_free_executors_weigh_the_first_choice() -> None:
    rng, facts = Random(7), Facts(offering(a=3, b=1))
    first: Counter[str] = Counter()
    for _ in range(4000):
        order = route(MINERS, [CLASS], facts, rng)
        assert not isinstance(order, NoMiner)
        first[order[0].miner.hotkey] += 1
    assert 0.72 < first["a"] / 4000 < 0.78


def test_busy_executors_lower_the_weight() -> None:
    rng, facts = Random(7), Facts(offering(a=3, b=2), busy={CLASS: {"a": 2, "c": 5}})
    first: Counter[str] = Counter()
    for _ in range(3000):
        order = route(MINERS, [CLASS], facts, rng)
        assert isinstance(order, tuple)
        first[order[0].miner.hotkey] += 1
    assert 0.30 < first["a"] / 3000 < 0.37


def test_free_executors_are_those_that_some_job_could_have() -> None:
    facts = Facts(
        offering(a=3, b=2, c=4, stranger=9),
        busy={CLASS: {"a": 2, "b": 5}},
        barred={"c": "timed out"},
        tried=frozenset("a"),
    )
    assert free_executors(MINERS, CLASS, facts) == 1
    assert free_executors(MINERS, "another", facts) == 0


@given(
    st.dictionaries(NAMES, st.integers(-2, 5)),
    st.dictionaries(NAMES, st.integers(0, 5)),
    st.sets(NAMES),
    st.sets(NAMES),
    st.integers(),
)
def test_order_holds_exactly_the_miners_that_may_have_the_job(
    offered: dict[str, int], busy: dict[str, int], barred: set[str], tried: set[str], seed: int
) -> None:
    facts = Facts(offering(**offered), {CLASS: busy}, dict.fromkeys(barred, "why"), frozenset(tried))
    order = route(MINERS, [CLASS], facts, Random(seed))
    may = {n for n, c in offered.items() if c > busy.get(n, 0) and c > 0} - barred - tried
    if isinstance(order, NoMiner):
        assert not may
        assert len(order.why) == len(MINERS)
    else:
        assert {choice.miner.hotkey for choice in order} == may
        assert len(order) == len(may)
