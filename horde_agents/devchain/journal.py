"""Keeps a chain across restarts: every block's inputs in one append-only file, played again at start.

A block is on disk before anybody hears of it. A half-written last line, left by a kill, is dropped.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

_FORMAT: Final = 1


class JournalUnreadable(Exception):
    """The file is not a journal of this version, or it is damaged in its middle."""


@dataclass(slots=True)
class Journal:
    """The open file; the first line is the chain's identity."""

    identity: dict[str, Any]
    entries: list[dict[str, Any]]
    _file: TextIO = field(repr=False)

    @classmethod
    def open(cls, path: Path, identity: dict[str, Any]) -> "Journal":
        """Open or begin the journal at ``path``; what the file says of the chain's identity wins.

        Raises:
            JournalUnreadable: not a journal, or damaged.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = _read(path) if path.exists() else []
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        if entries:
            first = entries.pop(0)
            if first.get("format") != _FORMAT:
                raise JournalUnreadable(
                    f"{path} is no chain journal of this version; move it away to begin anew"
                )
            file.truncate(_whole_bytes(path))
            file.seek(0, os.SEEK_END)
            return cls(first, entries, file)
        journal = cls({"format": _FORMAT, "seed": secrets.token_hex(32), **identity}, [], file)
        journal.append(journal.identity)
        return journal

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line and wait for the disk."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _read(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes()[: _whole_bytes(path)].decode().splitlines()
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise JournalUnreadable(f"{path} is damaged: {error}; move it away to begin anew") from error


def _whole_bytes(path: Path) -> int:
    """Up to and with the last newline."""
    return path.read_bytes().rfind(b"\n") + 1
