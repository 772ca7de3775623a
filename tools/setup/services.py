"""The servers that set-up starts where no init system does: a Docker daemon and an image registry."""

import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tools.setup.places import CACHE, REGISTRY, REGISTRY_PORT
from tools.setup.progress import SetupFailed, step

_READY_S = 60.0
_DOCKERD_PID = Path("/var/run/docker.pid")


def docker_answers() -> bool:
    """True when the daemon that the environment names can be used."""
    if shutil.which("docker") is None:
        return False
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def ensure_docker() -> None:
    """Use the daemon that answers, or start one.

    Raises:
        SetupFailed: none answers and this user may not start one.
    """
    if docker_answers():
        return
    if os.geteuid() != 0:
        raise SetupFailed(
            "No Docker daemon answers, and starting one needs root. Run: sudo systemctl start docker    "
            "(and add yourself to the group docker), then this again."
        )
    with step("Docker daemon"):
        _forget_dead(_DOCKERD_PID)
        _start("dockerd", ["dockerd", "--log-level", "warn"])
        _wait(docker_answers, "dockerd")


def registry_answers() -> bool:
    """True when the local registry speaks its protocol."""
    try:
        with urllib.request.urlopen(f"http://{REGISTRY}/v2/", timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ensure_registry() -> None:
    """Use the registry that answers on its loopback port, or start one with its data in the cache."""
    if registry_answers():
        return
    folder = CACHE / "registry"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: warn}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: 127.0.0.1:{REGISTRY_PORT}}}\n"
    )
    with step("image registry"):
        _start("registry", ["docker-registry", "serve", str(config)])
        _wait(registry_answers, "registry")


def stop_all() -> None:
    """End the servers that set-up started, and only those."""
    for name in ("registry", "dockerd"):
        pidfile = _pidfile(name)
        if not pidfile.exists():
            continue
        pid = int(pidfile.read_text())
        if _is_running(pid, name):
            os.kill(pid, signal.SIGTERM)
            _wait(lambda pid=pid, name=name: not _is_running(pid, name), f"end of {name}")
        pidfile.unlink()


def _start(name: str, command: list[str]) -> None:
    log = CACHE / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    _pidfile(name).write_text(str(process.pid))


def _pidfile(name: str) -> Path:
    return CACHE / f"{name}.pid"


def _is_running(pid: int, name: str) -> bool:
    try:
        return name in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def _forget_dead(pidfile: Path) -> None:
    """dockerd refuses to start beside a pid file, even one of a killed daemon."""
    if pidfile.exists() and not _is_running(int(pidfile.read_text() or 0), "dockerd"):
        pidfile.unlink()


def _wait(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _READY_S
    while not ready():
        if time.monotonic() > deadline:
            raise SetupFailed(
                f"{what} is not ready after {_READY_S:.0f} s; its log is {CACHE / 'logs'}/{what}.log"
            )
        time.sleep(0.1)
