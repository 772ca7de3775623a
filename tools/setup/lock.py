"""Writes ``requirements/*.txt``: every version with the hashes of its files, and no address of any index."""

import os
import re
import sys
from pathlib import Path

from tools.setup.installer import uv_environment, uv_program
from tools.setup.places import REQUIREMENTS, ROOT
from tools.setup.progress import SetupFailed, run, step
from tools.setup.stock import STOCK

_OPTIONS = (
    *("--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header"),
)
_ADDRESS = re.compile(r"://|--(extra-)?index-url|--find-links")


def addresses_in(text: str) -> list[str]:
    """Lines of a requirement file that say where to download from."""
    return [line for line in text.splitlines() if _ADDRESS.search(line)]


def write_locks(*, upgrade: bool) -> None:
    """Resolve all requirement files anew; versions already locked stay unless ``upgrade``.

    Raises:
        SetupFailed: nothing satisfies the requirements, or a lock would name an index.
    """
    project = ROOT / "pyproject.toml"
    _compile("runtime", project, upgrade=upgrade)
    _compile("dev", project, "--group", "dev", "-c", REQUIREMENTS / "runtime.txt", upgrade=upgrade)
    # the rest of what these need is Debian's
    _compile("prompt-solver", REQUIREMENTS / "prompt-solver.in", "--no-deps", upgrade=upgrade)
    _compile("provision", "--group", f"{project}:provision", upgrade=upgrade)
    for name in ("bootstrap", *(f"stock-{name}" for name in STOCK)):
        _compile(name, REQUIREMENTS / f"{name}.in", upgrade=upgrade)


def _compile(name: str, *source: str | Path, upgrade: bool) -> None:
    uv = uv_program()
    if uv is None:
        raise SetupFailed("Locking needs uv, which the virtual environment brings. Run: make setup")
    lock = REQUIREMENTS / f"{name}.txt"
    extra = ["--upgrade"] if upgrade else []
    command = [uv, "pip", "compile", *_OPTIONS, *extra, *source, "-o", lock]
    with step(f"lock {name}"):
        run(command, log="lock", env=uv_environment(os.environ))
    found = addresses_in(lock.read_text())
    if found:
        raise SetupFailed(f"{lock} would name a place to download from: {found[0]}")
    print(f"  {lock.relative_to(ROOT)}", file=sys.stderr)
