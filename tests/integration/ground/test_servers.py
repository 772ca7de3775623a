"""Servers that set-up starts: they come up, are found again, survive a kill, and give way to others."""

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from horde_agents.testing.server_process import free_ports
from tools.setup.docker_daemon import forget_dead
from tools.setup.places import ROOT


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no server of ours."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"up\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"up\n"
    yield process
    process.communicate()


def test_pid_file_of_a_killed_daemon_is_forgotten(tmp_path: Path) -> None:
    dead = subprocess.Popen(["sleep", "600"])
    dead.kill()
    dead.wait()
    pid_path = tmp_path / "docker.pid"
    pid_path.write_text(str(dead.pid))
    forget_dead(pid_path, "sleep")
    assert not pid_path.exists()


def test_pid_that_now_belongs_to_another_program_is_forgotten(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    pid_path = tmp_path / "docker.pid"
    pid_path.write_text(str(bystander.pid))
    forget_dead(pid_path, "dockerd")
    assert not pid_path.exists()


def test_pid_file_of_a_living_daemon_stays(tmp_path: Path, bystander: subprocess.Popen[bytes]) -> None:
    pid_path = tmp_path / "docker.pid"
    pid_path.write_text(str(bystander.pid))
    forget_dead(pid_path, "cat")
    assert pid_path.exists()


def _set_up(cache: Path, *program: str, port: int) -> subprocess.CompletedProcess[str]:
    """Run a few lines of set-up in a process of its own, with a cache and a registry port of its own."""
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "SETUP_REGISTRY_PORT": str(port)}
    command = [sys.executable, "-c", "\n".join(program)]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


_START = "from tools.setup.registry import *; ensure_registry(); assert registry_answers()"
_STOP = "from tools.setup.registry import *; print(stop_registry(), registry_answers())"


def test_registry_is_started_found_again_replaced_after_a_kill_and_stopped(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    pid_path = tmp_path / "horde" / "registry.pid"
    try:
        assert _set_up(tmp_path, _START, port=port).returncode == 0
        first = pid_path.read_text()
        assert _set_up(tmp_path, _START, port=port).returncode == 0
        assert pid_path.read_text() == first
        os.kill(int(first), signal.SIGKILL)
        assert _set_up(tmp_path, _START, port=port).returncode == 0
        assert pid_path.read_text() != first
    finally:
        stopped = _set_up(tmp_path, _STOP, port=port)
    assert stopped.stdout.split() == ["True", "False"], stopped.stderr
    assert not pid_path.exists()


def test_server_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    program = (
        "from tools.setup import server",
        "server.start('trial', ['sh', '-c', 'echo no disk; exit 4'], lambda: False)",
    )
    ran = _set_up(tmp_path, *program, port=1)
    assert "trial ended with 4" in ran.stderr
    assert "no disk" in ran.stderr


class _NotARegistry(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


def test_port_of_another_program_is_named_with_the_setting_that_moves_ours(tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _NotARegistry) as other:
        serving = threading.Thread(target=other.serve_forever)
        serving.start()
        ran = _set_up(tmp_path, _START, port=other.server_port)
        other.shutdown()
        serving.join()
    assert ran.returncode != 0
    assert f"127.0.0.1:{other.server_port} is wanted" in ran.stderr
    assert "SETUP_REGISTRY_PORT=" in ran.stderr


def _goal(*words: str, cache: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.setup", *words]
    whole = {**os.environ, "XDG_CACHE_HOME": str(cache), **env}
    return subprocess.run(
        command, env=whole, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.docker
def test_unreachable_docker_host_ends_set_up_with_a_sentence(tmp_path: Path) -> None:
    ran = _goal("services", cache=tmp_path, env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert ran.returncode == 1
    assert "DOCKER_HOST is unix://" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_stop_leaves_alone_what_set_up_did_not_start(tmp_path: Path) -> None:
    ran = _goal("stop", cache=tmp_path, env={})
    assert ran.returncode == 0
    assert ran.stderr.count("not started by set-up, left alone") == 2
