"""A server program on this machine, its log, and the signals that tests send it."""

import os
import random
import re
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final

_END_S: Final = 10.0
_TAIL: Final = 5
_SAYS_WHY: Final = re.compile("error", re.IGNORECASE)
# Below what Nomad gives to tasks (20000 to 32000) and the kernel to connections (32768 and more): a port of
# those may be taken between being found free and its server's listening, seconds later on a busy machine.
_PORTS: Final = range(10_000, 20_000)
_candidates: Final = cycle(random.sample(_PORTS, len(_PORTS)))


class ServerNotUp(Exception):
    """A server did not come up; the text names its log."""


def free_ports(count: int) -> list[int]:
    """Loopback ports on which nobody listens now; none is found twice before all others were.

    Raises:
        ServerNotUp: fewer of them are free.
    """
    found = list(islice(filter(_is_free, islice(_candidates, len(_PORTS))), count))
    if len(found) < count:
        raise ServerNotUp(
            f"This machine has {len(found)} of {count} free ports in {_PORTS}: end some servers"
        )
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


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
        """Send a signal to it, if it lives; one that freezes it has done so when this returns."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            if number is signal.SIGSTOP:  # on a busy machine it may answer once more before
                os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

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
    """The last lines of a log, and before them the last ones that speak of an error."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    errors = [line for line in lines[:-_TAIL] if _SAYS_WHY.search(line)]
    return "\n".join(errors[-_TAIL:] + lines[-_TAIL:])
