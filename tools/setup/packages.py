"""Debian packages: which are missing, and how they come here."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.setup.progress import SetupFailed, run, step

#: package → a program or file that it brings
PACKAGES = {
    "docker.io": "/usr/sbin/dockerd",
    "docker-registry": "/usr/bin/docker-registry",
    "busybox-static": "/bin/busybox",
    "postgresql": "/usr/lib/postgresql",
    "iproute2": "/bin/ip",
}


def missing(exists: Callable[[str], bool] = os.path.exists) -> list[str]:
    """Packages whose program is not on this machine."""
    return [name for name, path in PACKAGES.items() if not exists(path)]


def refusal(names: Iterable[str], *, root: bool, apt: bool) -> str | None:
    """Why ``names`` cannot be installed from here, with the remedy; ``None`` when they can."""
    wanted = " ".join(names)
    if not apt:
        return (
            f"This machine has no apt-get and lacks: {wanted}. Horde sets up Debian 12 by itself; "
            "elsewhere install these programs with the system's own package manager and run this again."
        )
    if not root:
        return (
            f"Installing {wanted} needs root. Run: sudo apt-get install -y {wanted}    and then this again."
        )
    return None


def install_missing() -> None:
    """Install what is missing, without starting any of it.

    Raises:
        SetupFailed: not root, not Debian, or apt-get failed.
    """
    names = missing()
    if not names:
        return
    why_not = refusal(names, root=os.geteuid() == 0, apt=shutil.which("apt-get") is not None)
    if why_not:
        raise SetupFailed(why_not)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with step(f"Debian packages: {' '.join(names)}"), _no_service_starts():
        run(["apt-get", "update", "-q"], log="apt", env=env)
        run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *names], log="apt", env=env)


class _no_service_starts:  # noqa: N801  (reads as a phrase after `with`)
    """Debian's own switch: while it says 101, packages start no services."""

    path = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self.ours = not self.path.exists()
        if self.ours:
            self.path.write_text("#!/bin/sh\nexit 101\n")
            self.path.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self.ours:
            self.path.unlink(missing_ok=True)
