"""From files to a file, with a played engine; the real one runs in ``tests/contract/prompt_solver``."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prompt_solver.__main__ import main
from prompt_solver.faults import ExitCode, SolverFault
from prompt_solver.known_engines import ENGINES
from prompt_solver.model_files import digests_of
from prompt_solver.pin import Pin
from prompt_solver.tokens import check_template, tokens_of


class Shouter:
    """Says what it was asked, louder."""

    def __init__(self, folder: Path, pin: Pin) -> None:
        self.mark = "!" * pin.max_new_tokens

    def answers(self, prompts: Sequence[str]) -> Sequence[str]:
        return [prompt.upper() + self.mark for prompt in prompts]


@dataclass
class Words:
    """A tokenizer that has a token for each word."""

    chat_template: str | None = None
    said: list[Any] = field(default_factory=list)

    def apply_chat_template(
        self, said: Sequence[Mapping[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        assert add_generation_prompt
        return " ".join(f"[{each['role']}] {each['content']}" for each in said)

    def __call__(self, text: str, *, add_special_tokens: bool) -> Mapping[str, Sequence[int]]:
        self.said.append((text, add_special_tokens))
        return {"input_ids": [len(word) for word in text.split()]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    played = ModuleType("prompt_solver.played")
    played.Shouter = Shouter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "prompt_solver.played", played)
    monkeypatch.setitem(ENGINES, "played", ("played", "Shouter"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("w")
    pin = {"engine": "played", "folder": str(tmp_path / "model"), "max_new_tokens": 2, "most_prompts": 2}
    write(tmp_path / "pin.json", {**pin, "files": dict(digests_of(tmp_path / "model"))})
    write(tmp_path / "prompts.json", {"prompts": [{"id": "a", "text": "why"}, {"id": "b", "text": "how"}]})
    return tmp_path


def write(path: Path, whole: object) -> None:
    path.write_text(json.dumps(whole))


def solved(place: Path) -> int:
    words = [f"--{name}={place / name}.json" for name in ("pin", "prompts", "answers")]
    return main(["solve", *words])


def test_each_prompt_has_its_answer_under_its_id(place: Path) -> None:
    assert solved(place) == ExitCode.ANSWERED
    assert json.loads((place / "answers.json").read_text()) == {"a": "WHY!!", "b": "HOW!!"}


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("pin.json", "{}", ExitCode.BAD_PIN),
        ("prompts.json", "{}", ExitCode.BAD_PROMPTS),
        (
            "prompts.json",
            json.dumps({"prompts": [{"id": str(number), "text": ""} for number in range(3)]}),
            ExitCode.TOO_MANY_PROMPTS,
        ),
        ("model/weights", "v", ExitCode.MODEL_DIFFERS),
        ("model/weights", None, ExitCode.MODEL_MISSING),
    ],
    ids=["pin", "prompts", "too many", "changed model", "no model"],
)
def test_fault_ends_with_its_code_and_a_sentence_and_no_answers(
    place: Path, capsys: pytest.CaptureFixture[str], name: str, body: str | None, code: ExitCode
) -> None:
    if body is None:
        (place / name).unlink()
    else:
        (place / name).write_text(body)
    assert solved(place) == code
    said = capsys.readouterr().err
    assert said.startswith("prompt_solver: ")
    assert len(said.splitlines()) == 1
    assert not (place / "answers.json").exists()


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_engine_that_this_image_lacks_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    pin = json.loads((place / "pin.json").read_text())
    write(place / "pin.json", pin | {"engine": engine, "device": "cuda"})
    assert solved(place) == ExitCode.ENGINE_MISSING
    assert f"The engine {engine} cannot be imported" in capsys.readouterr().err


def test_pin_is_printed_for_a_model_that_lies_here(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pin", "--folder", str(place / "model"), "--max-new-tokens", "9"]) == ExitCode.ANSWERED
    printed = json.loads(capsys.readouterr().out)
    assert printed["files"] == digests_of(place / "model")
    assert printed["max_new_tokens"] == 9
    assert main(["pin", "--folder", str(place / "nowhere")]) == ExitCode.MODEL_MISSING


def test_prompt_is_said_by_a_user_where_there_is_a_chat_template() -> None:
    plain, chat = Words(), Words("{{ messages }}")
    assert tokens_of(plain, "why me", 2) == [3, 2]
    assert tokens_of(chat, "why me", 3) == [6, 3, 2]
    assert plain.said == [("why me", True)]
    assert chat.said == [("[user] why me", False)]


def test_prompt_that_leaves_no_room_for_an_answer_is_refused() -> None:
    with pytest.raises(SolverFault, match="3 tokens; 2 fit beside an answer") as caught:
        tokens_of(Words(), "one two three", 2)
    assert caught.value.exit_code is ExitCode.BAD_PROMPTS


def test_template_that_looks_at_the_clock_is_refused() -> None:
    check_template(Words("{{ messages }}"))
    with pytest.raises(SolverFault, match="strftime_now"):
        check_template(Words("{{ strftime_now('%d') }}"))
