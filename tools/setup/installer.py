"""How a hash-pinned requirement file gets into a virtual environment: with uv, or else with pip.

Owns no decision about which environment holds what; see ``venv`` and ``stock``.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.setup.places import REQUIREMENTS, VENV_PYTHON
from tools.setup.progress import SetupFailed, run

#: what the machine's owner tells pip → the same told to uv, which does not read pip's variables
_TOLD_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
}
#: what a lock file says is all that comes, and as it was when it was locked
_LOCKED = ("--require-hashes", "--no-deps", "--only-binary", ":all:")


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with pip's variables said in uv's words; what is already said to uv stays."""
    told = {uv: environ[pip] for pip, uv in _TOLD_TO_UV.items() if environ.get(pip)}
    return {**told, **environ, "UV_NO_PROGRESS": "1"}


def digest_of(*paths: Path) -> str:
    """One digest over the contents of ``paths`` and the version of Python that they are installed for."""
    whole = hashlib.sha256(_python_version().encode())
    for path in paths:
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def make_environment(folder: Path, *, log: str) -> Path:
    """Make a virtual environment at ``folder``, replacing what is there; return its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", folder], log=log)
    return folder / "bin" / "python"


def install(python: Path, *names: str, log: str) -> None:
    """Install the requirement files ``names`` into the environment of ``python``.

    uv comes first because it is ten times as fast; pip is asked when uv is absent or fails,
    for it knows this machine's pip configuration files.
    """
    words = list(_LOCKED)
    for name in names:
        words += ["-r", str(REQUIREMENTS / f"{name}.txt")]
    try:
        _install(_uv_or_pip(python), words, log=log)
    except SetupFailed:
        print("    that did not work; once more with pip", file=sys.stderr, flush=True)
        _install(_pip(python), words, log=log)


def install_into(folder: Path, name: str, *, log: str) -> None:
    """Unpack the wheels of requirement file ``name`` into ``folder``, for a Python 3.11 that is elsewhere."""
    words = [*_LOCKED, "--python-version", "3.11", "--target", str(folder)]
    words += ["-r", str(REQUIREMENTS / f"{name}.txt")]
    _install(_uv_or_pip(VENV_PYTHON), words, log=log)


def install_checkout(python: Path, root: Path, *, log: str) -> None:
    """Make the project at ``root`` importable and its commands callable, without any download."""
    _install(_uv_or_pip(python), ["--no-deps", "--no-build-isolation", "-e", str(root)], log=log)


def _install(installer: list[str | Path], words: list[str], *, log: str) -> None:
    run([*installer, "-q", *words], log=log, env=uv_environment(os.environ))


def _uv_or_pip(python: Path) -> list[str | Path]:
    uv = uv_program()
    return _pip(python) if uv is None else [uv, "pip", "install", "--python", python]


def _pip(python: Path) -> list[str | Path]:
    return [python, "-m", "pip", "install"]


def fits(folder: Path) -> bool:
    """True when ``folder`` is an environment of this version of Python, and that Python is still there."""
    return (folder / "bin" / "python").exists() and (folder / "lib" / f"python{_python_version()}").is_dir()


def uv_program() -> Path | None:
    """The uv of the project's own environment, once that is there and runs."""
    uv = VENV_PYTHON.with_name("uv")
    if not uv.exists():
        return None
    works = subprocess.run([uv, "--version"], capture_output=True, check=False).returncode == 0
    return uv if works else None


def _python_version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"
