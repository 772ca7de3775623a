"""The prompt solver's own program on a GPU: an answer is its prompt's alone there, too.

Our environment has no torch, and the tests' image has Debian's, which knows no GPU. On a machine with a GPU,
torch and transformers it runs by itself, in 3 minutes, most of them imports::

    PYTHONPATH=images/prompt_solver python3 -m pytest -c /dev/null --noconftest \\
        tests/contract/prompt_solver/test_on_a_card.py
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here; run it where a GPU is")
if not torch.cuda.is_available():
    pytest.skip("torch sees no GPU of NVIDIA's here", allow_module_level=True)

PROMPTS = [{"id": str(number), "text": f"Name {number} towns beside a lake."} for number in range(20)]


def program(*words: str | Path) -> str:
    """What the program prints."""
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    program("prompt_solver.tiny_model", folder, "1")
    return folder


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def pin(request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pin") / "pin.json"
    words = ("--device", "cuda", "--dtype", request.param, "--max-new-tokens", "32")
    file.write_text(program("prompt_solver", "pin", "--folder", model, *words))
    return file


@pytest.fixture(scope="module")
def first(pin: Path) -> bytes:
    """What one process answers to all prompts."""
    return answered(pin, PROMPTS)


def answered(pin: Path, prompts: Sequence[Mapping[str, str]]) -> bytes:
    """The file of answers, as a process of its own wrote it."""
    asked, answers = pin.with_name("prompts.json"), pin.with_name("answers.json")
    asked.write_text(json.dumps({"prompts": prompts}))
    program("prompt_solver", "solve", "--pin", pin, "--prompts", asked, "--answers", answers)
    return answers.read_bytes()


def test_another_process_writes_the_same_bytes(pin: Path, first: bytes) -> None:
    assert answered(pin, PROMPTS) == first
    assert len(set(json.loads(first).values())) == len(PROMPTS)


def test_order_changes_no_answer(pin: Path, first: bytes) -> None:
    assert json.loads(answered(pin, PROMPTS[::-1])) == json.loads(first)


def test_neighbours_change_no_answer(pin: Path, first: bytes) -> None:
    assert json.loads(answered(pin, PROMPTS[-1:])).items() <= json.loads(first).items()
