"""``python3.11 -m tools.setup <goal>``: bring the machine to where it can run. The Makefile calls it."""

import argparse
import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tools.setup.docker_daemon import stop_docker
from tools.setup.goals import STEPS_OF, reach
from tools.setup.lock import write_locks
from tools.setup.places import CACHE
from tools.setup.progress import SetupFailed
from tools.setup.registry import stop_registry


def main(words: list[str] | None = None) -> int:
    """Do what the command line says; 0 when the goal is reached, 1 with a sentence when not."""
    asked = _arguments().parse_args(words)
    try:
        with _one_at_a_time():
            _do(asked)
    except SetupFailed as failed:
        print(f"set-up: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def _do(asked: argparse.Namespace) -> None:
    if asked.goal == "stop":
        _stop()
    elif asked.goal == "lock":
        write_locks(upgrade=asked.upgrade)
    else:
        reach(asked.goal)


def _stop() -> None:
    for name, stop in (("image registry", stop_registry), ("Docker daemon", stop_docker)):
        print(f"  {name}: {'stopped' if stop() else 'not started by set-up, left alone'}", file=sys.stderr)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            began = time.monotonic()
            print("  another set-up runs; waiting for it …", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
            print(f"  waited {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
        yield


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3.11 -m tools.setup", description=__doc__)
    parser.add_argument("goal", choices=[*STEPS_OF, "lock", "stop"])
    parser.add_argument("--upgrade", action="store_true", help="lock: take newer versions than those locked")
    return parser


if __name__ == "__main__":
    sys.exit(main())
