"""Reads what a job left behind, as if an enemy had arranged it: component by component, plain files only."""

import base64
import itertools
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

#: Artifacts at or above this many bytes are left out (wire note F.3.1).
MAX_ARTIFACT_BYTES: Final = 1_000_000
#: All artifacts of a job together: a report has to fit into a frame.
MAX_ARTIFACTS_BYTES: Final = 24 * 1024 * 1024
MAX_ZIP_BYTES: Final = 2 * 1024**3
MAX_ZIP_FILES: Final = 1_000
_MAX_DEPTH: Final = 100
_CHUNK_BYTES: Final = 256 * 1024
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OutputRefused(Exception):
    """A file is missing, is no plain file, or there are too many; the text names it."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """An open plain file below /output and its size when it was opened."""

    relative_path: str
    stream: BinaryIO
    size_bytes: int


@contextmanager
def opened(folder: Path, relative_path: str) -> Iterator[OutputFile]:
    """Open ``relative_path`` below ``folder`` without following any link.

    Raises:
        OutputRefused: missing, a link on the way, or no plain file.
    """
    descriptor = _open(folder, relative_path)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise OutputRefused(f"{relative_path:.200} is no plain file")
    with os.fdopen(descriptor, "rb") as stream:
        yield OutputFile(relative_path, stream, facts.st_size)


def collect_artifacts(folder: Path, artifacts_dir: str) -> dict[str, str]:
    """Top-level plain files below a million bytes, as container path → base64 text.

    Raises:
        OutputRefused: all together would not fit into a report.
    """
    found: dict[str, str] = {}
    total = 0
    for name in sorted(os.listdir(folder)):  # noqa: PTH208
        try:
            with opened(folder, name) as file:
                content = file.stream.read(MAX_ARTIFACT_BYTES)
        except OutputRefused:
            continue
        if len(content) >= MAX_ARTIFACT_BYTES:
            continue
        total += len(name) + len(content)
        if total > MAX_ARTIFACTS_BYTES:
            raise OutputRefused(
                f"The artifacts together are over {MAX_ARTIFACTS_BYTES} bytes; upload large results instead."
            )
        found[f"{artifacts_dir.rstrip('/')}/{name}"] = base64.b64encode(content).decode()
    return found


def zip_output(folder: Path, archive: Path) -> None:
    """Pack every plain file below ``folder``; links and devices are left out.

    Raises:
        OutputRefused: too many files or too deep.
    """
    names = list(itertools.islice(_plain_files(folder), MAX_ZIP_FILES + 1))
    if len(names) > MAX_ZIP_FILES:
        raise OutputRefused(f"/output has more than {MAX_ZIP_FILES} files")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            with opened(folder, name) as file, packed.open(name, "w", force_zip64=True) as sink:
                while chunk := file.stream.read(_CHUNK_BYTES):
                    sink.write(chunk)
            if archive.stat().st_size > MAX_ZIP_BYTES:
                raise OutputRefused(f"/output packs to more than {MAX_ZIP_BYTES} bytes")


def _open(folder: Path, relative_path: str) -> int:
    *parents, name = relative_path.split("/")
    if not {"", ".", ".."}.isdisjoint((*parents, name)):
        raise OutputRefused(f"{relative_path:.200} is no plain relative path")
    if len(parents) > _MAX_DEPTH:
        raise OutputRefused(f"{relative_path:.120} is deeper than {_MAX_DEPTH} folders")
    here = os.open(folder, _FOLDER)
    try:
        for parent in parents:
            here = _step(here, parent, _FOLDER)
        return os.open(name, _FILE, dir_fd=here)
    except OSError as error:
        raise OutputRefused(f"{relative_path:.200} cannot be read: {error.strerror}") from error
    finally:
        os.close(here)


def _step(here: int, name: str, flags: int) -> int:
    there = os.open(name, flags, dir_fd=here)
    os.close(here)
    return there


def _plain_files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(parent) / name
            if stat.S_ISREG(path.lstat().st_mode):
                yield path.relative_to(folder).as_posix()
