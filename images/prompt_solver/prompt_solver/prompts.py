"""Reads ``{"prompts": [{"id", "text"}]}`` as a validator's ``llm_prompts`` batch writes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prompt_solver.faults import ExitCode, SolverFault

#: Bytes of the whole file; prompts of a batch have about 150 each.
MOST_BYTES: Final = 64 * 1024 * 1024
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question; its answer is filed under ``id``."""

    id: str
    text: str


def read_prompts(path: Path, most: int) -> Sequence[Prompt]:
    """The prompts of a file, in its order.

    Raises:
        SolverFault: the file is not of that form, or holds none or more than ``most``.
    """
    prompts = [_prompt(each, index, path) for index, each in enumerate(_entries(path, most))]
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise _bad(path, f"has the id {prompt.id:.40} twice", "Give each prompt its own.")
        seen.add(prompt.id)
    return prompts


def _entries(path: Path, most: int) -> list[object]:
    try:
        with path.open("rb") as opened:
            body = opened.read(MOST_BYTES + 1)
    except OSError as error:
        remedy = 'Mount a volume with the prompts, such as {"prompts": [{"id": "a", "text": "Why?"}]}.'
        raise _bad(path, f"cannot be read ({error.strerror})", remedy) from error
    if len(body) > MOST_BYTES:
        raise _bad(path, f"has more than {MOST_BYTES} bytes", "Spread its prompts over several jobs.")
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"is no JSON ({error})", "Write it anew, as UTF-8.") from error
    entries = whole.get("prompts") if isinstance(whole, dict) else None
    if not isinstance(entries, list) or not entries:
        raise _bad(path, "has no list of prompts", 'Put a list with at least one under the key "prompts".')
    if len(entries) > most:
        text = f"{path} has {len(entries)} prompts; the pin allows {most}. Send fewer, or raise most_prompts."
        raise SolverFault(ExitCode.TOO_MANY_PROMPTS, text)
    return entries


def _prompt(entry: object, index: int, path: Path) -> Prompt:
    match entry:
        case {"id": str(name), "text": str(text), **more} if not more and _is_text(name) and _is_text(text):
            return Prompt(name, text)
    shown = f"{entry!r:.{_SHOWN_CHARACTERS}}".encode("ascii", "backslashreplace").decode()
    raise _bad(path, f"has the prompt number {index}: {shown}", "Give it the texts id and text, and no more.")


def _is_text(text: str) -> bool:
    """False for half a surrogate pair, which JSON can say and no tokenizer takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _bad(path: Path, what: str, remedy: str) -> SolverFault:
    return SolverFault(ExitCode.BAD_PROMPTS, f"{path} {what}. {remedy}")
