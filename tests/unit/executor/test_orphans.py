"""A holder whose miner has gone before the holder was up keeps no slot: nobody would ever end it."""

import os
import subprocess
import sys
from pathlib import Path

NOT_ITS_PARENT = 1


def test_a_holder_that_comes_up_after_its_miner_has_gone_ends(tmp_path: Path) -> None:
    settings = {
        "SLOT_ID": "node:cpu-0",
        "EXECUTOR_CLASS": "always_on.test",
        "MINERS": "127.0.0.1:1/" + "00" * 32,
        "TOKEN": "a-token",
        "WORK_DIR": str(tmp_path),
        "DIE_WITH_PARENT": "true",
        "PARENT_PID": str(NOT_ITS_PARENT),
    }
    env = os.environ | {f"HORDE_EXECUTOR_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "horde_agents.agents.executor"]
    holder = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert holder.returncode == 1, holder.stderr
    assert "whoever started this holder is gone" in holder.stderr
