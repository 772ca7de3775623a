"""The real image with a real, tiny model, run as an executor runs it: what a batch needs of its answers."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from horde_agents.agents.validator.prompts.sampler import Prompt, sample
from prompt_solver.faults import ExitCode
from prompt_solver.model_files import digests_of
from prompt_solver.pin import hub_folder, pin_of

pytestmark = pytest.mark.docker
Answered = Callable[[str, Sequence[Prompt]], Mapping[str, str]]
BOUNDS = (
    "--network=none",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=2g",
    "--tmpfs=/tmp",
)
#: as the Dockerfile pins the tiny model
ANSWER = {"max_new_tokens": 48}


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


def test_model_named_by_id_and_revision_is_found_in_the_hubs_layout(
    prompt_image: str, answered: Answered, tmp_path: Path
) -> None:
    prompts = sample(1)
    hub, folder = tmp_path / "hub", place(tmp_path / "named", prompts)
    snapshot = hub_folder("owner/name", "0" * 40, hub)
    snapshot.parent.mkdir(parents=True)
    bind = f"--volume={snapshot.parent}:/copy"
    copy = ["docker", "run", "--rm", bind, "--entrypoint=python3", prompt_image]
    script = f"import shutil; shutil.copytree('/model', '/copy/{snapshot.name}')"
    subprocess.run([*copy, "-c", script], check=True)
    pin = pin_of({"id": "owner/name", "revision": "0" * 40, "files": digests_of(snapshot)} | ANSWER, "test")
    (tmp_path / "pin.json").write_text(pin.to_json())
    ended = ran(
        prompt_image, folder, f"--volume={hub}:/models:ro", f"--volume={tmp_path / 'pin.json'}:/pin.json:ro"
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads((folder / "output" / "answers.json").read_bytes()) == answered(prompt_image, prompts)


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
