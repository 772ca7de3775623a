"""The prompt solver reads what a batch writes, refuses the rest by name, and writes whole files."""

import json
from pathlib import Path

import pytest

from horde_agents.agents.validator.prompts.kind import read_answers
from prompt_solver.answers import write_answers
from prompt_solver.faults import ExitCode, SolverFault
from prompt_solver.prompts import MOST_BYTES, Prompt, read_prompts


def refused(path: Path, body: bytes, most: int = 10) -> SolverFault:
    path.write_bytes(body)
    with pytest.raises(SolverFault) as caught:
        read_prompts(path, most)
    assert str(path) in str(caught.value)
    return caught.value


def test_prompts_come_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text('{"prompts": [{"id": "b", "text": "Wozu\\u00df?"}, {"text": "", "id": "a"}]}')
    assert read_prompts(path, 2) == [Prompt("b", "Wozuß?"), Prompt("a", "")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff{", "is no JSON"),
        (b"[" * 40_000, "is no JSON"),
        (b"[]", "no list of prompts"),
        (b'{"prompts": {}}', "no list of prompts"),
        (b'{"prompts": []}', "no list of prompts"),
        (b'{"prompts": ["Why?"]}', "prompt number 0: 'Why?'"),
        (b'{"prompts": [{"id": "a", "text": "x"}, {"id": 7, "text": "x"}]}', "prompt number 1"),
        (b'{"prompts": [{"id": "a"}]}', "prompt number 0"),
        (b'{"prompts": [{"id": "a", "text": "x", "seed": 1}]}', "'seed': 1"),
        (b'{"prompts": [{"id": "a", "text": "\\ud800"}]}', "prompt number 0"),
        (b'{"prompts": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}', "id a twice"),
        (b" " * (MOST_BYTES + 1), f"more than {MOST_BYTES} bytes"),
    ],
    ids=[
        *("no text", "deep", "a list", "an object", "none", "a text", "a number"),
        *("no question", "more", "half a character", "twice", "long"),
    ],
)
def test_another_form_is_refused_with_what_is_wrong(tmp_path: Path, body: bytes, why: str) -> None:
    fault = refused(tmp_path / "prompts.json", body)
    assert fault.exit_code is ExitCode.BAD_PROMPTS
    assert why in str(fault)
    str(fault).encode()


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SolverFault, match=r"prompts\.json cannot be read \(No such file") as caught:
        read_prompts(tmp_path / "prompts.json", 10)
    assert caught.value.exit_code is ExitCode.BAD_PROMPTS


def test_more_prompts_than_allowed_are_refused_with_both_numbers(tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": "x"} for number in range(11)]
    fault = refused(tmp_path / "prompts.json", json.dumps({"prompts": rows}).encode(), most=10)
    assert fault.exit_code is ExitCode.TOO_MANY_PROMPTS
    assert "11 prompts; the pin allows 10" in str(fault)


def test_answers_are_what_a_validator_reads(tmp_path: Path) -> None:
    answers = {"a": "Weil\nß\u2028�", "b": ""}
    write_answers(tmp_path / "answers.json", answers)
    assert read_answers((tmp_path / "answers.json").read_bytes()) == answers
    assert [path.name for path in tmp_path.iterdir()] == ["answers.json"]


def test_answers_that_cannot_be_written_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(SolverFault, match="cannot be written") as caught:
        write_answers(tmp_path / "missing" / "answers.json", {"a": "b"})
    assert caught.value.exit_code is ExitCode.NOT_WRITTEN
    (tmp_path / "answers.json").mkdir()
    with pytest.raises(SolverFault, match="cannot be written"):
        write_answers(tmp_path / "answers.json", {"a": "b"})
    assert [path.name for path in tmp_path.iterdir()] == ["answers.json"]
