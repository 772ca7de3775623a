"""A holder on a machine whose Docker daemon does not run."""

import os
import subprocess
import sys
from pathlib import Path


def test_it_says_so_in_a_line_and_ends_where_one_attempt_waits_for_it(tmp_path: Path) -> None:
    values = {
        "slot_id": "gpu7:GPU-a",
        "executor_class": "always_on.gpu-24gb",
        "miners": f"127.0.0.1:1/{'0' * 64}",
        "token": "none",
        "work_dir": str(tmp_path),
        "meant_for": "attempt",
    }
    env = {f"HORDE_EXECUTOR_{name.upper()}": value for name, value in values.items()}
    env = {**os.environ, **env, "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    command = (sys.executable, "-m", "horde_agents.agents.executor")
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "The Docker daemon does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr
