"""Running slow commands so that a person sees what takes how long, and why one failed."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.setup.places import LOGS

_TICK_S = 5.0


class SetupFailed(Exception):
    """Set-up cannot go on; the text says what is missing and how to get it."""


@contextmanager
def step(title: str, tick_s: float = _TICK_S) -> Iterator[None]:
    """Announce ``title``, tick while it runs, and say how long it took."""
    begun = time.monotonic()
    done = threading.Event()
    print(f"  {title} …", file=sys.stderr, flush=True)

    def tick() -> None:
        while not done.wait(tick_s):
            print(f"    {title}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    print(f"  {title}: done in {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path], *, log: str, env: dict[str, str] | None = None, logs: Path = LOGS
) -> None:
    """Run ``command`` with its output in ``<log>.log``; show the end of it on failure."""
    path = logs / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as sink:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, check=False
        )
    if result.returncode != 0:
        words = " ".join(str(part) for part in command)
        raise SetupFailed(f"`{words}` ended with {result.returncode}. {last_words(path)}")


def last_words(log: Path, lines: int = 15) -> str:
    """The end of ``log``, and where the rest is."""
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return f"Its last words ({log}):\n{tail}"
