"""A server that set-up starts in the background where no init system does: its pid file, its log, its end.

Owns no knowledge of which servers there are; see ``docker_daemon`` and ``registry``.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.setup.places import CACHE, LOGS
from tools.setup.progress import SetupFailed, last_words

READY_S = 60.0
_LOOK_AGAIN_S = 0.05


def start(name: str, command: Sequence[str], ready: Callable[[], bool]) -> None:
    """Start ``command`` so that it outlives us, and return once it is ``ready``.

    Raises:
        SetupFailed: it ended, or was not ready in time; the end of its log is in the text.
    """
    log = log_path(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", start_new_session=True
        )
    pid_path(name).write_text(str(process.pid))
    deadline = time.monotonic() + READY_S
    while not ready():
        if process.poll() is not None:
            raise SetupFailed(f"{name} ended with {process.returncode}. {last_words(log)}")
        if time.monotonic() > deadline:
            raise SetupFailed(f"{name} is not ready after {READY_S:.0f} s. {last_words(log)}")
        time.sleep(_LOOK_AGAIN_S)


def stop(name: str, program: str) -> bool:
    """End the server ``name`` if set-up started it and it still runs; say whether it did."""
    path = pid_path(name)
    pid = read_pid(path)
    was_running = pid is not None and runs(pid, program)
    if pid is not None and was_running:
        os.kill(pid, signal.SIGTERM)
        _wait_for_end(name, pid, program)
    path.unlink(missing_ok=True)
    return was_running


def read_pid(path: Path) -> int | None:
    """The process id that ``path`` holds, if it holds one."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def runs(pid: int, program: str) -> bool:
    """True when process ``pid`` exists and is ``program``: after a reboot ids belong to others."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return Path(os.fsdecode(words[0])).name == program


def pid_path(name: str) -> Path:
    """Where the process id of server ``name`` is kept."""
    return CACHE / f"{name}.pid"


def log_path(name: str) -> Path:
    """Where server ``name`` writes what it has to say."""
    return LOGS / f"{name}.log"


def _wait_for_end(name: str, pid: int, program: str) -> None:
    deadline = time.monotonic() + READY_S
    while runs(pid, program):
        if time.monotonic() > deadline:
            raise SetupFailed(f"{name} (process {pid}) does not end within {READY_S:.0f} s of SIGTERM")
        time.sleep(_LOOK_AGAIN_S)
