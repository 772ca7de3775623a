"""Writes ``{id: text}`` whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from prompt_solver.faults import ExitCode, SolverFault


def write_answers(path: Path, answers: Mapping[str, str]) -> None:
    """Write ``answers`` beside ``path`` and then rename: nobody ever sees half of them.

    Raises:
        SolverFault: the folder takes no file.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as opened:
            json.dump(answers, opened, ensure_ascii=False)
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        text = f"{path} cannot be written ({error.strerror}). Give {path.parent} room for it."
        raise SolverFault(ExitCode.NOT_WRITTEN, text) from error
