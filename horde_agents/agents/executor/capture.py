"""Keeps what a container prints: the beginning and the end for reports, bounded text for uploads."""

from dataclasses import dataclass, field
from typing import Final

#: Characters kept of each end of a stream (wire note F.3.2).
KEPT: Final = 500_000


@dataclass(slots=True)
class Stream:
    """One output stream; memory stays below three times ``KEPT`` whatever comes."""

    _head: bytearray = field(default_factory=bytearray)
    _tail: bytearray = field(default_factory=bytearray)
    total_bytes: int = 0

    def take(self, chunk: bytes) -> None:
        """Add ``chunk``."""
        self.total_bytes += len(chunk)
        room = KEPT - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room > 0 else chunk
        if len(self._tail) > 2 * KEPT:
            del self._tail[:-KEPT]

    def text(self) -> str:
        """Everything, or both ends joined by `` ... ``; bytes that are no UTF-8 are replaced."""
        head, tail = bytes(self._head), bytes(self._tail)
        if len(tail) <= KEPT:
            return (head + tail).decode(errors="replace")
        return f"{head.decode(errors='replace')} ... {tail[-KEPT:].decode(errors='replace')}"


@dataclass(slots=True)
class Capture:
    """Both streams of a container."""

    stdout: Stream = field(default_factory=Stream)
    stderr: Stream = field(default_factory=Stream)

    def take(self, stdout: bytes | None, stderr: bytes | None) -> None:
        """Add what the engine hands over."""
        if stdout:
            self.stdout.take(stdout)
        if stderr:
            self.stderr.take(stderr)

    @property
    def total_bytes(self) -> int:
        """Bytes printed so far."""
        return self.stdout.total_bytes + self.stderr.total_bytes
