"""The checkout's virtual environment: what the lock files say, and the project itself in editable form."""

import sys

from tools.setup.installer import digest_of, fits, install, install_checkout, make_environment
from tools.setup.places import REQUIREMENTS, ROOT, VENV, VENV_PYTHON
from tools.setup.progress import SetupFailed, step

LOWEST_PYTHON = (3, 11)
_SOURCES = (REQUIREMENTS / "bootstrap.txt", REQUIREMENTS / "dev.txt", ROOT / "pyproject.toml")
_STAMP = VENV / "horde-lock"


def python_refusal(version: tuple[int, int], executable: str) -> str | None:
    """Why this Python cannot run Horde, with the remedy; ``None`` when it can."""
    if version >= LOWEST_PYTHON:
        return None
    return (
        f"{executable} is Python {version[0]}.{version[1]}; Horde needs 3.11 or newer. "
        "Run: sudo apt-get install -y python3.11 python3.11-venv    and then make PYTHON=python3.11 …"
    )


def ensure_venv() -> None:
    """Bring ``.venv`` to what the lock files and ``pyproject.toml`` say, unless it is there.

    Raises:
        SetupFailed: this Python is too old, or the packages could not be installed.
    """
    why_not = python_refusal(sys.version_info[:2], sys.executable)
    if why_not:
        raise SetupFailed(why_not)
    wanted = digest_of(*_SOURCES)
    if fits(VENV) and _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    with step("virtual environment"):
        if not fits(VENV):
            make_environment(VENV, log="venv")
        install(VENV_PYTHON, "bootstrap", log="venv")
        install(VENV_PYTHON, "dev", log="venv")
        install_checkout(VENV_PYTHON, ROOT, log="venv")
    _STAMP.write_text(wanted)
