"""Inputs are one text, come back the same, and are refused whole when anything in them is wrong."""

import json
from dataclasses import replace
from typing import Any

import pytest

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import BatchWork, MinerWork, OrganicWork, Outcome
from horde_agents.scoring.inputs import Inputs, InputsWrong
from horde_agents.scoring.result import Result, ResultWrong
from horde_agents.scoring.tally import Tally, UnknownOutcome
from horde_agents.scoring.weights import score
from tests.unit.scoring.cycle_facts import CLASS, counted, cycle_inputs, neuron, organic, synthetic


def _full() -> Inputs:
    works = [
        *synthetic("b", many=2),
        organic("a", 700),
        organic("a", 5, Outcome.HORDE_ENDED, user="\u00fcser"),
    ]
    counts, previous = (counted("b", 2), counted("a", 3)), (counted("a", 1, batch="batch-0"),)
    return cycle_inputs(
        works, counts=counts, previous_counts=previous, share="2/6", verdicts_sha256="ab" * 32
    )


def test_inputs_come_back_from_their_text_and_give_the_same_bytes() -> None:
    text = _full().to_json()
    again = Inputs.from_json(text)
    assert again == _full().in_order()
    assert again.to_json() == text
    assert score(again).to_json() == score(_full()).to_json()


def test_the_text_is_sorted_ascii_without_blanks_or_floats() -> None:
    text = _full().to_json()
    value = json.loads(text)
    assert text.isascii()
    assert text == json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert value["share"] == "1/3"
    assert [row["miner_hotkey"] for row in value["work"]] == ["a", "b"]


def test_a_result_comes_back_from_its_text() -> None:
    result = score(_full())
    assert Result.from_json(result.to_json()) == result


def test_a_result_names_the_inputs_it_came_from() -> None:
    other = replace(_full(), verdicts_sha256="cd" * 32)
    assert score(other).inputs_sha256 != score(_full()).inputs_sha256


def test_knobs_that_scoring_does_not_read_are_no_part_of_the_text() -> None:
    other = Configuration(class_weights={CLASS: 1}, cross_validation_share="0.9", commit_reveal=False)
    assert replace(_full(), configuration=other).to_json() == _full().to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"class_weights": {CLASS: 2}},
        {"max_executors_per_class": {CLASS: 1}},
        {"organic_s_per_point": 1},
        {"dancing_bonus": "2"},
        {"dancing_share": "1"},
        {"burn_rate": "1"},
        {"burn_hotkeys": ("a",)},
        {"version": 9},
    ],
)
def test_every_knob_that_scoring_reads_is_part_of_the_text(change: dict[str, Any]) -> None:
    other = Configuration.model_validate({"class_weights": {CLASS: 1}} | change)
    text = replace(_full(), configuration=other).to_json()
    assert text != _full().to_json()
    assert Inputs.from_json(text).to_json() == text


def _changed(path: str, value: Any) -> str:
    document = json.loads(_full().to_json())
    *parents, last = path.split(".")
    at: Any = document
    for part in parents:
        at = at[int(part) if part.isdigit() else part]
    at[int(last) if last.isdigit() else last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("netuid", -1),
        ("cycle", 1.5),
        ("cycle", "5"),
        ("length_blocks", 0),
        ("block_us", 10**30),
        ("share", "1/0"),
        ("share", "-1/2"),
        ("share", "2/1"),
        ("share", "0.5"),
        ("version", 2),
        ("unknown", 1),
        ("configuration.class_weights", {CLASS: 0}),
        ("neurons.0.uid", 70000),
        ("neurons.0.stake_rao", -1),
        ("neurons.1.uid", 0),
        ("neurons.1.hotkey", "a"),
        ("work.0.organic.large_us", -5),
        ("work.0.organic.outcomes", {"splendid": 1}),
        ("work.0.miner_hotkey", "x" * 65),
        ("counts.0.executors", 2**30),
        ("counts.0.executors", True),
    ],
)
def test_inputs_with_one_wrong_value_are_refused_whole(path: str, value: Any) -> None:
    with pytest.raises(InputsWrong):
        Inputs.from_json(_changed(path, value))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{", "NaN", '{"netuid":1.0}', "[" * 100_000])
def test_a_text_that_is_no_inputs_is_refused(text: str) -> None:
    with pytest.raises(InputsWrong):
        Inputs.from_json(text)
    with pytest.raises(ResultWrong):
        Result.from_json(text)


def test_two_facts_about_one_thing_are_refused_by_name() -> None:
    twice = (neuron(0, "a"), neuron(1, "a"))
    with pytest.raises(InputsWrong, match="two rows for hotkey 'a'"):
        score(cycle_inputs(neurons=twice))
    with pytest.raises(InputsWrong, match="two rows for count of"):
        score(cycle_inputs(counts=(counted("a", 1), counted("a", 2))))
    batch = BatchWork("batch", {Outcome.PASSED: 1})
    with pytest.raises(InputsWrong, match="two rows for batch"):
        score(cycle_inputs(work=(MinerWork("a", CLASS, (batch, batch), OrganicWork({}, 0, 0, 0)),)))


def test_a_stored_outcome_of_a_newer_version_stops_the_scoring() -> None:
    tally = Tally(1)
    tally.add([("a", CLASS, False, "batch", "", "splendid", 1, 1)])
    with pytest.raises(UnknownOutcome, match="newer version"):
        tally.result()
