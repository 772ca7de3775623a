"""The worked example of docs/scoring.md: its numbers are what the code computes from its facts."""

import re
from fractions import Fraction
from pathlib import Path

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.cycles import TOP_SEATS, TURN_SEATS, cycle_number, seats
from horde_agents.scoring.explain import explained
from horde_agents.scoring.facts import BatchCount, NeuronFact, Outcome, Work
from horde_agents.scoring.inputs import Inputs, point_us
from horde_agents.scoring.result import Result
from horde_agents.scoring.tally import summed
from horde_agents.scoring.weights import score

PAGE = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text()
_A6000, _TEST = "always_on.gpu.a6000", "always_on.test"
_S = 1_000_000


def _rows(first_heading: str) -> list[list[str]]:
    lines = PAGE.splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def _works() -> list[Work]:
    works = []
    for row, (_, hotkey, _, name, passed, excused, failed, _, _, organic) in enumerate(_rows("UID")):
        outcomes = ((Outcome.PASSED, passed), (Outcome.EXCUSED, excused), (Outcome.FAILED, failed))
        for outcome, many in outcomes:
            works += [
                Work(f"{row}-{outcome}-{n}", False, "now", hotkey, name, "", outcome, 9 * _S, 60 * _S)
                for n in range(int(many))
            ]
        for number, (user, run_s) in enumerate(re.findall(r"(\w+) (\d+)", organic)):
            us = int(run_s) * _S
            works.append(Work(f"{row}-{number}", True, "", hotkey, name, user, Outcome.PASSED, us, us))
    return works


def _example() -> Result:
    configuration = Configuration(class_weights={_A6000: 3, _TEST: 1})
    rows = _rows("UID")
    return score(
        Inputs(
            netuid=12,
            cycle=5,
            length_blocks=722,
            block_us=12 * _S,
            validator_hotkey="validator",
            share="1/4",
            configuration=configuration,
            neurons=tuple({NeuronFact(int(row[0]), row[1], row[2], 0, permit=False) for row in rows}),
            work=summed(_works(), point_us(configuration)),
            counts=tuple(BatchCount("now", 9, row[1], row[3], int(row[7])) for row in rows),
            previous_counts=tuple(BatchCount("then", 1, row[1], row[3], int(row[8])) for row in rows),
            verdicts_sha256="",
        )
    )


def _computed() -> list[list[str]]:
    result = _example()
    return [
        [
            miner.hotkey,
            part.executor_class,
            f"{float(Fraction(part.points)):g}",
            f"{float(100 * Fraction(part.points) / Fraction(part.class_points)):.2f} %",
            f"{part.share_ppb / 10_000_000:.2f} %",
            str(miner.weight),
        ]
        for miner in result.miners
        for part in miner.classes
    ]


def test_the_numbers_of_the_worked_example_are_what_the_code_computes() -> None:
    assert _rows("hotkey") == _computed()


def test_the_printed_explanation_is_the_code_s() -> None:
    result = _example()
    coral = result.miner(2)
    assert coral is not None
    printed = "\n".join(f"    {line}".rstrip() for line in explained(result, coral))
    assert printed in PAGE


def test_the_page_s_numbers_of_seats_and_lead_are_the_code_s() -> None:
    stakes = {f"hotkey-{number:02}": 1 for number in range(60)}
    row = seats(stakes, "ab" * 32, cycle_number(1, 12))
    assert "the 24 validators with the most stake have a seat, and four of the others" in PAGE
    assert (TOP_SEATS, TURN_SEATS) == (24, 4)
    assert (row[0].first_block, row[-1].end_block) == (708 + 722 // 30, 1430)


def test_every_knob_that_scoring_reads_is_on_the_page() -> None:
    knobs = (
        "organic_s_per_point",
        "max_executors_per_class",
        "dancing_bonus",
        "dancing_share",
        "class_weights",
    )
    for knob in (*knobs, "burn_rate", "burn_hotkeys"):
        assert knob in Configuration.model_fields
        assert f"`{knob}`" in PAGE


def test_every_outcome_has_a_row() -> None:
    assert {row[0].strip("`") for row in _rows("outcome")} == {outcome.value for outcome in Outcome}
