"""A model's files are those of its pin, every one of them and no other, or it is not loaded."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from prompt_solver.faults import ExitCode, SolverFault


def digests_of(folder: Path) -> Mapping[str, str]:
    """SHA-256 of each file below ``folder``, by its path from there; links are followed.

    Raises:
        SolverFault: there is no such folder, it is empty, or a file cannot be read.
    """
    return {name: _digest(folder / name) for name in _names(folder)}


def check_files(folder: Path, wanted: Mapping[str, str]) -> None:
    """Read every file and compare; an unlisted one may change answers as well as a changed one.

    Raises:
        SolverFault: a file is missing, or has other bytes, or is not listed.
    """
    names = set(_names(folder))
    for name in sorted(wanted.keys() - names):
        text = f"The model in {folder} lacks {name}. Put the pinned revision there, with all its files."
        raise SolverFault(ExitCode.MODEL_MISSING, text)
    for name in sorted(names - wanted.keys()):
        text = f"The model in {folder} has {name}, which its pin does not list. Remove it, or pin anew."
        raise SolverFault(ExitCode.MODEL_DIFFERS, text)
    for name, digest in sorted(wanted.items()):
        found = _digest(folder / name)
        if found != digest:
            text = (
                f"{folder / name} has the SHA-256 {found}, and its pin says {digest}. "
                "Put the pinned revision there, or pin the model anew if the change was meant."
            )
            raise SolverFault(ExitCode.MODEL_DIFFERS, text)


def _names(folder: Path) -> list[str]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if not names:
        text = f"There is no model in {folder}. Put its files into the image, or mount them there."
        raise SolverFault(ExitCode.MODEL_MISSING, text)
    return names


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        text = f"{path} cannot be read ({error.strerror}). Let everyone read the model's files."
        raise SolverFault(ExitCode.MODEL_MISSING, text) from error
