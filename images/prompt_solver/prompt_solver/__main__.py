"""``python3 -m prompt_solver solve|pin``: what the image runs, and what pins its model."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prompt_solver.answers import write_answers
from prompt_solver.engine import load_engine
from prompt_solver.faults import ExitCode, SolverFault
from prompt_solver.known_engines import ENGINES
from prompt_solver.model_files import check_files, digests_of
from prompt_solver.pin import MODELS_ROOT, Pin, hub_folder, pin_of, read_pin
from prompt_solver.prompts import read_prompts


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code, after a sentence on standard error where it is not 0."""
    asked = _arguments().parse_args(words)
    try:
        if asked.command == "pin":
            print(_new_pin(asked).to_json(), end="")
        else:
            solve(asked.pin, asked.prompts, asked.answers)
    except SolverFault as fault:
        print(f"prompt_solver: {fault}", file=sys.stderr)
        return fault.exit_code
    return ExitCode.ANSWERED


def solve(pin_path: Path, prompts_path: Path, answers_path: Path) -> None:
    """Answer all prompts of one file into another.

    Raises:
        SolverFault: the answers were not written.
    """
    pin = read_pin(pin_path)
    prompts = read_prompts(prompts_path, pin.most_prompts)
    folder = pin.model_folder()
    check_files(folder, pin.files)
    texts = load_engine(folder, pin).answers([prompt.text for prompt in prompts])
    write_answers(answers_path, {prompt.id: text for prompt, text in zip(prompts, texts, strict=True)})


def _new_pin(asked: argparse.Namespace) -> Pin:
    if asked.folder:
        folder, named = asked.folder, {"folder": str(asked.folder)}
    else:
        folder = hub_folder(asked.id, asked.revision, asked.root)
        named = {"id": asked.id, "revision": asked.revision}
    chosen = {key: getattr(asked, key) for key in ("engine", "device", "dtype", "max_new_tokens")}
    return pin_of({**named, **chosen, "files": digests_of(folder)}, "of this command line")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m prompt_solver", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    solving = commands.add_parser("solve", help="answer the prompts of one file into another")
    solving.add_argument("--pin", type=Path, default=Path("/pin.json"))
    solving.add_argument("--prompts", type=Path, default=Path("/volume/prompts.json"))
    solving.add_argument("--answers", type=Path, default=Path("/output/answers.json"))
    pinning = commands.add_parser("pin", help="print the pin of the model that lies here")
    name = pinning.add_mutually_exclusive_group(required=True)
    name.add_argument("--folder", type=Path, help="the model's folder, as the image has it")
    name.add_argument("--id", help="the model's id, such as owner/name")
    pinning.add_argument("--revision", default="", help="commit of 40 digits, with --id")
    pinning.add_argument("--root", type=Path, default=MODELS_ROOT, help="folder of models that have an id")
    pinning.add_argument("--engine", choices=list(ENGINES), default="transformers")
    pinning.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    pinning.add_argument("--dtype", default="float32")
    pinning.add_argument("--max-new-tokens", type=int, default=128)
    return parser


if __name__ == "__main__":
    sys.exit(main())
