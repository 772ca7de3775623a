"""Set-up starts a Docker daemon on a machine that has none, and again after that one was killed.

The machine without a daemon is a mount and network namespace of its own, so the real one is not touched.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.setup.places import ROOT

_SCRIPT = """
ip link set lo up
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p "$FOLDER/docker" && mount --bind "$FOLDER/docker" /var/lib/docker
set_up() { "$PYTHON" -m tools.setup "$1"; }
trap 'set_up stop' EXIT
run_job() { docker run --rm --network none "127.0.0.1:$SETUP_REGISTRY_PORT/horde/job:1" echo "$1"; }
pid_of() { cat "$1"; }

set_up services
run_job first
kill -KILL "$(pid_of "$XDG_CACHE_HOME/horde/dockerd.pid")"
set_up services
run_job after-dockerd-was-killed
kill -KILL "$(pid_of "$XDG_CACHE_HOME/horde/dockerd.pid")" "$(pid_of /run/docker/containerd/containerd.pid)"
set_up services
run_job after-both-were-killed
"""


def _may_make_namespaces() -> bool:
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.docker
@pytest.mark.skipif(not _may_make_namespaces(), reason="this user may not make namespaces here")
def test_daemon_is_started_and_restarted_after_each_kind_of_kill(tmp_path: Path) -> None:
    env = {
        **{name: value for name, value in os.environ.items() if name != "DOCKER_HOST"},
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SETUP_REGISTRY_PORT": "5001",
        "FOLDER": str(tmp_path),
        "PYTHON": sys.executable,
    }
    command = ["unshare", "--mount", "--net", "--fork", "bash", "-euo", "pipefail", "-c", _SCRIPT]
    ran = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["first", "after-dockerd-was-killed", "after-both-were-killed"]
    assert "Docker daemon: stopped" in ran.stderr
