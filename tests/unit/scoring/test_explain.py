"""The explanation of a miner fits a terminal and names every source and cap."""

from hypothesis import given, settings
from hypothesis import strategies as st

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.explain import WIDTH, explained, overview
from horde_agents.scoring.facts import Outcome
from horde_agents.scoring.result import Result
from horde_agents.scoring.weights import score
from tests.unit.scoring.cycle_facts import (
    CLASS,
    OTHER_CLASS,
    counted,
    cycle_inputs,
    miner,
    neuron,
    organic,
    synthetic,
)

_HOTKEY = "5" + "H" * 47


def _cycle() -> Result:
    works = [
        *synthetic("a", many=4),
        *synthetic("a", Outcome.EXCUSED),
        *synthetic("a", Outcome.REJECTED_BADLY, many=2),
        *synthetic("a", executor_class=OTHER_CLASS),
        *(organic("a", 3, user=f"user-{number}") for number in range(40)),
        organic("a", 60, Outcome.HORDE_ENDED),
        *synthetic("b", many=3),
    ]
    configuration = Configuration(
        class_weights={CLASS: 1},
        max_executors_per_class={CLASS: 3},
        burn_rate="0.25",
        burn_hotkeys=("b",),
    )
    neurons = (neuron(0, "a", "cold"), neuron(1, "b", "cold"))
    counts = (counted("a", 5), counted("b", 3))
    before = (counted("a", 2, batch="batch-0"), counted("b", 6, batch="batch-0"))
    facts = {"neurons": neurons, "counts": counts, "previous_counts": before, "share": "1/3"}
    return score(cycle_inputs(works, configuration=configuration, **facts))


def test_every_point_and_cap_of_a_miner_has_its_line() -> None:
    result = _cycle()
    text = "\n".join(explained(result, miner(result, "a")))
    for words in (
        "UID 0, hotkey a",
        "4  synthetic jobs passed",
        "1  synthetic jobs excused",
        "-2  above the limit of executors of a batch",
        "40.2  organic work of 41 users, 40 of them topped up to 1",
        "28.88  allowance on 3 slots: no more organic points than this",
        "x 1.3  dancing: 3 of 8 executors moved",
        "without points: 1 organic horde ended, 2 synthetic rejected badly",
        "= 41.444  points, of 45.344 in the class",
        "the class has no weight",
    ):
        assert words in text, text


def test_a_burn_hotkey_reads_what_it_gets_for_burning() -> None:
    result = _cycle()
    text = "\n".join(explained(result, miner(result, "b")))
    assert "25.0000000 %  as a burn hotkey: 25 % of the whole burns" in text


def test_a_miner_whose_work_is_dropped_reads_why() -> None:
    result = score(cycle_inputs([*synthetic("gone"), *synthetic("a")]))
    lines = explained(result, miner(result, "gone"))
    assert lines[0] == "no UID, hotkey gone"
    assert "  Nothing counts: its hotkey is not registered any more." in lines


def test_the_overview_begins_with_the_largest_weight() -> None:
    result = score(cycle_inputs([*synthetic("a"), *synthetic("b", many=2), *synthetic("gone")]))
    lines = overview(result)
    assert [line.split()[:2] for line in lines[1:]] == [["1", "b"], ["0", "a"], ["-", "gone"]]


@settings(deadline=None, max_examples=50)  # a busy machine takes what it takes
@given(st.integers(1, 2**40), st.integers(1, 10**9), st.integers(1, 10**9))
def test_no_line_is_wider_than_a_terminal(length_blocks: int, share: int, run_s: int) -> None:
    parts = f"{min(share, run_s)}/{max(share, run_s)}"
    inputs = cycle_inputs(
        [organic(_HOTKEY, run_s % 604_800 + 1), *synthetic(_HOTKEY, many=3)],
        share=parts,
        length_blocks=length_blocks % 2**32 + 1,
        neurons=(neuron(65535, _HOTKEY, _HOTKEY),),
    )
    result = score(inputs)
    lines = [*explained(result, miner(result, _HOTKEY)), *overview(result)]
    assert max(len(line) for line in lines) <= WIDTH
