"""An agent that cannot start says why in one sentence, and ends with code 2."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "PRT",
            "1",
            "Unknown setting 'prt' in environment variable HORDE_FACILITATOR_PRT: did you mean 'port'?",
        ),
        ("LOG_LEVEL", "loud", "is wrong: use one of debug, info, warning, error (given: 'loud')."),
        ("DATABASE_URL", "sqlite:////proc/none/file", "Database file /proc/none/file cannot be made"),
        ("PORT", "taken", "Address already in use. Free it, or set another host or port."),
    ],
)
def test_an_agent_that_cannot_start_says_why_in_a_sentence(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        settings = {
            "HORDE_FACILITATOR_DATABASE_URL": f"sqlite:///{tmp_path}/store.sqlite3",
            "HORDE_FACILITATOR_HOST": "127.0.0.1",
            "HORDE_FACILITATOR_PORT": "0",
            "HORDE_FACILITATOR_OPERATOR_PORT": "0",
            f"HORDE_FACILITATOR_{name}": taken if value == "taken" else value,
        }
        command = [sys.executable, "-m", "horde_agents", "facilitator", "serve"]
        run = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=60)
    *_, last = run.stderr.splitlines()
    assert run.returncode == 2
    assert last.startswith("horde: ")
    assert sentence in last
    assert "Traceback" not in run.stderr
