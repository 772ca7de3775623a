"""Laws of scoring that hold for whatever work there was."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import BatchCount, MinerWork, Outcome, Work
from horde_agents.scoring.inputs import Inputs
from horde_agents.scoring.tally import summed
from horde_agents.scoring.weights import MAX_WEIGHT, score, upscaled
from tests.unit.scoring.cycle_facts import CLASS, OTHER_CLASS, class_score, cycle_inputs, neuron

_US = 1_000_000
_HOTKEYS = ("a", "b", "c", "d")
_NEURONS = (neuron(0, "a", "cold"), neuron(1, "b", "cold"), neuron(2, "c"), neuron(5, "e"))
_CONFIGURATION = Configuration(class_weights={CLASS: 2, OTHER_CLASS: 5}, burn_rate="0.1", burn_hotkeys=("e",))

_works = st.builds(
    Work,
    attempt_uuid=st.uuids().map(str),
    is_organic=st.booleans(),
    batch_uuid=st.sampled_from(["batch-1", "batch-2"]),
    miner_hotkey=st.sampled_from(_HOTKEYS),
    executor_class=st.sampled_from([CLASS, OTHER_CLASS, "unheard.of"]),
    user_hotkey=st.sampled_from(["u", "v", "w"]),
    outcome=st.sampled_from(list(Outcome)),
    run_us=st.integers(0, 4000 * _US),
    limit_us=st.integers(0, 4000 * _US),
)
_counts = st.dictionaries(
    st.tuples(st.sampled_from(_HOTKEYS), st.sampled_from([CLASS, OTHER_CLASS])), st.integers(0, 12)
).map(lambda rows: tuple(BatchCount("batch", 9, *key, many) for key, many in rows.items()))


def _summed(works: Iterable[Work]) -> tuple[MinerWork, ...]:
    return summed(works, 300 * _US)


@st.composite
def _cycles(draw: st.DrawFn) -> tuple[Inputs, list[Work]]:
    works = draw(st.lists(_works, max_size=40))
    inputs = cycle_inputs(
        works,
        neurons=_NEURONS,
        configuration=_CONFIGURATION,
        counts=draw(_counts),
        previous_counts=draw(_counts),
        share=f"{draw(st.integers(0, 7))}/7",
    )
    return inputs, works


def _organic_points_by_the_rule(works: list[Work], hotkey: str, name: str) -> Fraction:
    """The rule of docs/scoring.md, job by job, without any sums on the way."""
    mine = [w for w in works if w.is_organic and (w.miner_hotkey, w.executor_class) == (hotkey, name)]
    points = Fraction(0)
    for user in {work.user_hotkey for work in mine}:
        paid = [
            w for w in mine if w.user_hotkey == user and w.outcome in {Outcome.PASSED, Outcome.HORDE_ENDED}
        ]
        earned = Fraction(sum(min(w.run_us, w.limit_us) for w in paid), 300 * _US)
        passed = any(min(w.run_us, w.limit_us) for w in paid if w.outcome is Outcome.PASSED)
        points += max(earned, Fraction(1)) if passed else earned
    return points


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(_cycles())
def test_sums_give_the_points_that_the_rule_gives_job_by_job(cycle: tuple[Inputs, list[Work]]) -> None:
    inputs, works = cycle
    for miner in score(inputs).miners:
        for part in miner.classes:
            expected = _organic_points_by_the_rule(works, miner.hotkey, part.executor_class)
            assert Fraction(part.organic_points) == expected


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(_cycles(), st.randoms(use_true_random=False))
def test_the_order_of_the_facts_changes_no_byte(cycle: tuple[Inputs, list[Work]], random: Random) -> None:
    inputs, works = cycle
    shuffled_works = random.sample(works, len(works))
    other = replace(
        inputs,
        neurons=tuple(random.sample(inputs.neurons, len(inputs.neurons))),
        work=tuple(random.sample(_summed(shuffled_works), len(inputs.work))),
        counts=tuple(random.sample(inputs.counts, len(inputs.counts))),
        previous_counts=tuple(random.sample(inputs.previous_counts, len(inputs.previous_counts))),
    )
    assert other.to_json() == inputs.to_json()
    assert score(other).to_json() == score(inputs).to_json()


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(_cycles())
def test_weights_are_u16_of_registered_uids_and_the_largest_is_65535(
    cycle: tuple[Inputs, list[Work]],
) -> None:
    result = score(cycle[0])
    assert set(result.uids) <= {neuron.uid for neuron in _NEURONS}
    assert list(result.uids) == sorted(set(result.uids))
    assert all(0 < weight <= MAX_WEIGHT for weight in result.weights)
    assert max(result.weights) == MAX_WEIGHT


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(_cycles())
def test_all_shares_sum_to_one_or_to_the_burnt_part(cycle: tuple[Inputs, list[Work]]) -> None:
    result = score(cycle[0])
    shares = sum(miner.share_ppb for miner in result.miners)
    burnt = sum(miner.burn_ppb for miner in result.miners)
    assert burnt == 100_000_000
    assert shares == 0 or abs(shares + burnt - 1_000_000_000) <= len(result.miners)


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(_cycles(), st.integers(2, 9))
def test_as_much_more_work_of_everyone_changes_no_weight(
    cycle: tuple[Inputs, list[Work]], factor: int
) -> None:
    inputs = replace(cycle[0], share="1/1", length_blocks=10**6, counts=(), previous_counts=())
    batch_jobs = [work for work in cycle[1] if not work.is_organic]
    more = [
        replace(work, attempt_uuid=f"{work.attempt_uuid}-{n}") for work in batch_jobs for n in range(factor)
    ]
    once, many = replace(inputs, work=_summed(batch_jobs)), replace(inputs, work=_summed(more))
    assert (score(once).uids, score(once).weights) == (score(many).uids, score(many).weights)


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(st.dictionaries(st.integers(0, 300), st.fractions(0, 1), min_size=1), st.fractions(1, 1000))
def test_upscaling_looks_at_proportions_alone(shares: dict[int, Fraction], factor: Fraction) -> None:
    assert upscaled(shares) == upscaled({uid: share * factor for uid, share in shares.items()})


def _points(works: list[Work], inputs: Inputs) -> Fraction:
    found = score(replace(inputs, work=_summed(works)))
    return sum(
        (Fraction(part.points) for miner in found.miners if miner.hotkey == "a" for part in miner.classes),
        Fraction(0),
    )


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(_cycles(), st.data())
def test_splitting_a_job_gives_no_more_points(cycle: tuple[Inputs, list[Work]], data: st.DataObject) -> None:
    inputs, works = cycle
    mine = [work for work in works if work.miner_hotkey == "a" and work.is_organic]
    parts = []
    for work in mine:
        cut = data.draw(st.integers(0, work.run_us))
        limit_cut = data.draw(st.integers(0, work.limit_us))
        parts.append(replace(work, run_us=cut, limit_us=limit_cut))
        rest = work.limit_us - limit_cut
        parts.append(
            replace(work, attempt_uuid=work.attempt_uuid + "-2", run_us=work.run_us - cut, limit_us=rest)
        )
    assert _points(parts, inputs) <= _points(mine, inputs)


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(_cycles(), st.integers(1, 10**11))
def test_stretching_a_job_beyond_its_limit_gives_no_more_points(
    cycle: tuple[Inputs, list[Work]], more_us: int
) -> None:
    inputs, works = cycle
    at_limit = [replace(work, run_us=work.limit_us) for work in works]
    stretched = [replace(work, run_us=work.limit_us + more_us) for work in works]
    assert _points(stretched, inputs) == _points(at_limit, inputs)


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(st.integers(1, 300), st.integers(0, 9), st.integers(0, 20))
def test_however_many_users_a_miner_brings_the_allowance_caps_it(users: int, share: int, slots: int) -> None:
    works = [
        Work(f"{n}", True, "", "a", CLASS, f"user-{n}", Outcome.PASSED, n * _US, 4000 * _US)
        for n in range(1, users + 1)
    ]
    counts = (BatchCount("batch", 9, "a", CLASS, slots),)
    found = class_score(score(cycle_inputs(works, share=f"{share}/9", counts=counts)), "a")
    assert Fraction(found.points) <= Fraction(share * max(slots, 1) * 722 * 12, 9 * 300)


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(_cycles(), st.lists(_works, max_size=10))
def test_jobs_that_did_not_run_change_no_weight(cycle: tuple[Inputs, list[Work]], others: list[Work]) -> None:
    inputs, works = cycle
    not_run = [replace(work, outcome=Outcome.NOT_RUN) for work in others]
    with_them = replace(inputs, work=_summed([*works, *not_run]))
    assert score(with_them).weights == score(inputs).weights
