"""Ansible, its linters and molecule, in a virtual environment of their own: agents need none of it."""

from pathlib import Path

from tools.setup.installer import digest_of, fits, install, make_environment
from tools.setup.places import CACHE, REQUIREMENTS
from tools.setup.progress import step

_COMPLETE = "complete"


def provision_folder() -> Path:
    """Where the environment of today's lock is; it exists after ``ensure_provision``."""
    return CACHE / "provision" / digest_of(REQUIREMENTS / "provision.txt")[:12]


def ensure_provision() -> None:
    """Install the environment unless it is complete.

    Raises:
        SetupFailed: a package could not be installed.
    """
    folder = provision_folder()
    if fits(folder) and (folder / _COMPLETE).exists():
        return
    with step("Ansible"):
        install(make_environment(folder, log="provision"), "provision", log="provision")
        (folder / _COMPLETE).touch()
