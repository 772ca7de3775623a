"""A Docker daemon to run jobs on: the one that answers, the init system's, or one that set-up starts."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tools.setup import server
from tools.setup.progress import SetupFailed, run, step

NAME = "dockerd"
_RUN = Path("/var/run")
_DOCKERD_PID = _RUN / "docker.pid"
_CONTAINERD_PID = _RUN / "docker" / "containerd" / "containerd.pid"


@dataclass(frozen=True, slots=True)
class DockerFacts:
    """What decides how a daemon is come by."""

    answers: bool
    """the daemon that the environment names can be used"""
    host: str | None
    """DOCKER_HOST, which sends every client elsewhere"""
    root: bool
    systemd: bool
    said: str = ""
    """what the client said when the daemon did not answer"""


def plan(facts: DockerFacts) -> Literal["use", "systemctl", "dockerd"]:
    """How to come by a daemon.

    Raises:
        SetupFailed: this user cannot; the text says why and what helps.
    """
    if facts.answers:
        return "use"
    if facts.host:
        raise SetupFailed(
            f"DOCKER_HOST is {facts.host} and no daemon answers there ({facts.said}). "
            "Start that daemon, or unset DOCKER_HOST, then run this again."
        )
    if not facts.root:
        remedy = "sudo systemctl start docker" if facts.systemd else "sudo python3.11 -m tools.setup services"
        raise SetupFailed(
            f"No Docker daemon answers this user ({facts.said}). Run: {remedy}    and, unless you are in the "
            "group docker: sudo usermod -aG docker $USER    (log in again), then run this again."
        )
    return "systemctl" if facts.systemd else "dockerd"


def ensure_docker() -> None:
    """Use the daemon that answers, or start one.

    Raises:
        SetupFailed: none answers and this user may not start one, or it does not come up.
    """
    way = plan(_facts())
    if way == "use":
        return
    with step("Docker daemon"):
        if way == "systemctl":
            run(["systemctl", "start", "docker"], log="systemctl")
            return
        forget_dead(_DOCKERD_PID, "dockerd")
        forget_dead(_CONTAINERD_PID, "containerd")
        server.start(NAME, ["dockerd", "--log-level", "warn"], docker_answers)


def docker_answers() -> bool:
    """True when the daemon that the environment names can be used."""
    return _complaint() is None


def stop_docker() -> bool:
    """End the daemon if set-up started it; its containers end with it."""
    return server.stop(NAME, "dockerd")


def forget_dead(pid_path: Path, program: str) -> None:
    """Remove a pid file whose daemon was killed: dockerd refuses to start beside one."""
    pid = server.read_pid(pid_path)
    if pid is None or not server.runs(pid, program):
        pid_path.unlink(missing_ok=True)


def _facts() -> DockerFacts:
    complaint = _complaint()
    return DockerFacts(
        answers=complaint is None,
        host=os.environ.get("DOCKER_HOST"),
        root=os.geteuid() == 0,
        systemd=Path("/run/systemd/system").is_dir(),
        said=complaint or "",
    )


def _complaint() -> str | None:
    """Why the daemon cannot be used, in the client's words; ``None`` when it can."""
    if shutil.which("docker") is None:
        return "the program docker is not on the PATH"
    command = ["docker", "version", "--format", "{{json .Server}}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return "it took the connection and then said nothing for 30 s"
    if asked.returncode != 0 or not json.loads(asked.stdout or "null"):
        return asked.stderr.strip() or "no word from the client"
    return None
