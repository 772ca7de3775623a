"""A server program on this machine, its log, and the signals that tests send it."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_END_S: Final = 10.0


class ServerNotUp(Exception):
    """A server did not come up; the text names its log."""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody has now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass(slots=True)
class ServerProcess:
    """One server program with its log; told to stop, killed, frozen and started again by tests."""

    words: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it; it is not ready yet."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, if it lives."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait; kill it when it does not listen."""
        self.send(number)
        if self.process is not None:
            try:
                self.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        """End it as a power cut does."""
        self.stop(signal.SIGKILL)

    def check_runs(self) -> None:
        """Raise with the end of its log if it has ended.

        Raises:
            ServerNotUp: it has ended.
        """
        if self.process is None or self.process.poll() is not None:
            raise ServerNotUp(f"{self.words[0]} has ended; its log {self.log} says: {_tail(self.log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else ""
