"""Keeps what a container prints: the beginning and the end for reports, all of it for uploads, bounded."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

#: Characters kept of each end of a stream (wire note F.3.2).
KEPT: Final = 500_000


@dataclass(slots=True)
class Stream:
    """One output stream; memory stays below three times ``KEPT`` whatever comes.

    ``file`` takes all of it up to ``file_bytes``.
    """

    file: BinaryIO | None = None
    file_bytes: int = 0
    _head: bytearray = field(default_factory=bytearray)
    _tail: bytearray = field(default_factory=bytearray)
    total_bytes: int = 0

    def take(self, chunk: bytes) -> None:
        """Add ``chunk``."""
        if self.file is not None and self.total_bytes < self.file_bytes:
            self.file.write(chunk[: self.file_bytes - self.total_bytes])
        self.total_bytes += len(chunk)
        room = KEPT - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if len(self._tail) > 2 * KEPT:
            del self._tail[:-KEPT]

    def text(self) -> str:
        """Everything, or both ends joined by `` ... ``; bytes that are no UTF-8 are replaced."""
        head, tail = bytes(self._head), bytes(self._tail)
        if self.total_bytes <= 2 * KEPT:
            return (head + tail).decode(errors="replace")
        return f"{head.decode(errors='replace')} ... {tail[-KEPT:].decode(errors='replace')}"


@dataclass(slots=True)
class Capture:
    """Both streams of a container."""

    stdout: Stream = field(default_factory=Stream)
    stderr: Stream = field(default_factory=Stream)

    @classmethod
    def into(cls, folder: Path, limit_bytes: int) -> "Capture":
        """One that also writes ``stdout.txt`` and ``stderr.txt`` into ``folder``."""
        stdout, stderr = (folder / name for name in LOG_NAMES)
        return cls(
            Stream(stdout.open("wb", buffering=0), limit_bytes),
            Stream(stderr.open("wb", buffering=0), limit_bytes),
        )

    def take(self, stdout: bytes | None, stderr: bytes | None) -> None:
        """Add what the engine hands over."""
        if stdout:
            self.stdout.take(stdout)
        if stderr:
            self.stderr.take(stderr)

    def close(self) -> None:
        """End the files."""
        for stream in (self.stdout, self.stderr):
            if stream.file is not None:
                stream.file.close()

    @property
    def total_bytes(self) -> int:
        """Bytes printed so far."""
        return self.stdout.total_bytes + self.stderr.total_bytes


#: What uploads find in /output besides the job's own files (wire note F.2.7).
LOG_NAMES: Final = ("stdout.txt", "stderr.txt")
