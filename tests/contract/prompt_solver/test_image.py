"""The real image with a real, tiny model, run as an executor runs it: what a batch needs of its answers."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from horde_agents.agents.validator.prompts.sampler import Prompt, sample
from prompt_solver.faults import ExitCode

pytestmark = pytest.mark.docker
Answered = Callable[[str, Sequence[Prompt]], Mapping[str, str]]
BOUNDS = (
    "--network=none",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=2g",
    "--tmpfs=/tmp",
)


def ran(image: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    binds = [f"--volume={folder / name}:/{name}" for name in ("volume", "output")]
    command = ["docker", "run", "--rm", *BOUNDS, *binds, *words, image]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def place(folder: Path, prompts: Sequence[Prompt]) -> Path:
    for name in ("volume", "output"):
        (folder / name).mkdir(parents=True)
    rows = [{"id": each.id, "text": each.text} for each in prompts]
    (folder / "volume" / "prompts.json").write_text(json.dumps({"prompts": rows}))
    return folder


@pytest.fixture
def answered(tmp_path: Path) -> Answered:
    def run(image: str, prompts: Sequence[Prompt]) -> Mapping[str, str]:
        folder = place(tmp_path / str(uuid4()), prompts)
        ended = ran(image, folder)
        assert ended.returncode == 0, ended.stderr
        answers: dict[str, str] = json.loads((folder / "output" / "answers.json").read_bytes())
        return answers

    return run


def test_answers_are_the_same_again_and_beside_other_prompts(prompt_image: str, answered: Answered) -> None:
    prompts = sample(6)
    whole = answered(prompt_image, prompts)
    assert whole.keys() == {each.id for each in prompts}
    assert answered(prompt_image, prompts[::-1]) == whole
    parts = [answered(prompt_image, part) for part in (prompts[:1], prompts[1:])]
    assert {**parts[0], **parts[1]} == whole


def test_other_prompts_and_other_weights_have_other_answers(
    prompt_image: str, other_prompt_image: str, answered: Answered
) -> None:
    prompts = [Prompt("a", "Name 7 towns."), Prompt("b", "Name 8 towns."), Prompt("c", "Name 7 towns.")]
    ours, others = answered(prompt_image, prompts), answered(other_prompt_image, prompts)
    assert ours["a"] == ours["c"] != ours["b"]
    assert not set(ours.values()) & set(others.values())


def test_model_that_was_changed_in_the_image_answers_nothing(prompt_image: str, tmp_path: Path) -> None:
    folder = place(tmp_path, sample(1))
    (tmp_path / "config.json").write_text("{}")
    ended = ran(prompt_image, folder, f"--volume={tmp_path / 'config.json'}:/model/config.json")
    assert ended.returncode == ExitCode.MODEL_DIFFERS
    assert "/model/config.json has the SHA-256" in ended.stderr
    assert not list((folder / "output").iterdir())


def test_prompt_that_is_too_long_for_the_model_answers_nothing(prompt_image: str, tmp_path: Path) -> None:
    folder = place(tmp_path, [*sample(1), Prompt("long", "why " * 400)])
    ended = ran(prompt_image, folder)
    assert ended.returncode == ExitCode.BAD_PROMPTS
    assert "tokens; 976 fit beside an answer" in ended.stderr
    assert not list((folder / "output").iterdir())
