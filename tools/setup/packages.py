"""Debian packages: which are missing, and how they come here without starting anything."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools.setup.progress import SetupFailed, run, step

_POLICY = Path("/usr/sbin/policy-rc.d")


def is_static(program: Path) -> bool:
    """True when ``program`` exists and needs no dynamic linker, so that it runs alone in an image."""
    if not program.exists():
        return False
    with program.open("rb") as opened:
        return b"/ld-linux" not in opened.read(4096)


#: package → whether what it brings is on this machine, from wherever it came
PRESENT: dict[str, Callable[[], bool]] = {
    "python3-venv": lambda: importlib.util.find_spec("ensurepip") is not None,
    "ca-certificates": lambda: Path("/etc/ssl/certs/ca-certificates.crt").exists(),
    "docker.io": lambda: _on_path("docker") and (_on_path("dockerd") or "DOCKER_HOST" in os.environ),
    "docker-registry": lambda: _on_path("docker-registry"),
    "busybox-static": lambda: is_static(Path("/bin/busybox")),
    "iproute2": lambda: _on_path("ip"),
    "gcc": lambda: _on_path("gcc"),
    "libc6-dev": lambda: Path("/usr/include/stdlib.h").exists(),
    "gpg": lambda: _on_path("gpg"),
    "gpg-agent": lambda: _on_path("gpg-agent"),
    "openssh-client": lambda: _on_path("ssh") and _on_path("ssh-keygen"),
    "mmdebstrap": lambda: _on_path("mmdebstrap"),
    "postgresql": lambda: any(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
}


def missing(names: Iterable[str], present: Mapping[str, Callable[[], bool]] = PRESENT) -> list[str]:
    """Those of ``names`` whose program is not on this machine."""
    return [name for name in names if not present[name]()]


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


def install_missing(names: Iterable[str]) -> None:
    """Install those of ``names`` that are missing, without starting any of them.

    Raises:
        SetupFailed: not root, not Debian, or apt-get failed.
    """
    lacking = missing(names)
    if not lacking:
        return
    why_not = refusal(lacking, root=os.geteuid() == 0, apt=shutil.which("apt-get") is not None)
    if why_not:
        raise SetupFailed(why_not)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Debian packages: {' '.join(lacking)}"), _no_service_starts():
        run(["apt-get", "update", "-q"], log="apt", env=env)
        run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *lacking], log="apt", env=env)
    if "docker-registry" in lacking and Path("/run/systemd/system").is_dir():
        # Debian's unit would serve on all interfaces from the next boot on; set-up runs its own on loopback
        subprocess.run(["systemctl", "disable", "-q", "docker-registry"], check=False)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Use Debian's own switch: while this program says 101, packages start no services."""
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)


def _on_path(program: str) -> bool:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
