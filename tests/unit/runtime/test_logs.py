"""A log line is one JSON object on standard error, and no secret gets into it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from horde_agents.runtime.redaction import HIDDEN, names_secret, shown

_LOG = """
import logging
from horde_agents.runtime.logs import get_logger, set_up_logs

log = get_logger("test")
set_up_logs("miner", "info")
log.debug("too quiet")
log.bind(job="job-1", peer="validator-1").info("taken", token="hunter2", headers={"Authorization": "hunter2"})
logging.getLogger("some.library").warning("connecting to %s", "postgresql://horde:hunter2@host/name")
try:
    raise ValueError("wss://horde:hunter2@host")
except ValueError:
    log.exception("broken")
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """What a process logged."""
    run = subprocess.run([sys.executable, "-c", _LOG], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    assert "hunter2" not in run.stderr
    return [json.loads(line) for line in run.stderr.splitlines()]


def test_each_line_says_when_how_bad_and_which_agent(lines: list[dict[str, Any]]) -> None:
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert {line["agent"] for line in lines} == {"miner"}
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_what_a_logger_is_bound_to_is_in_its_lines(lines: list[dict[str, Any]]) -> None:
    assert (lines[0]["job"], lines[0]["peer"], lines[0]["event"]) == ("job-1", "validator-1", "taken")


def test_secrets_are_hidden_wherever_they_stand(lines: list[dict[str, Any]]) -> None:
    assert lines[0]["token"] == HIDDEN
    assert lines[0]["headers"] == {"Authorization": HIDDEN}
    assert lines[1]["event"] == f"connecting to postgresql://horde:{HIDDEN}@host/name"


def test_a_crash_is_one_line_with_its_traceback(lines: list[dict[str, Any]]) -> None:
    assert "ValueError" in lines[2]["exception"]


@pytest.mark.parametrize("name", ["token", "api_key", "Authorization", "horde_secret", "privateKey", "SEED"])
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize("name", ["hotkey", "hotkey_file", "tokens_left", "nonce", "peer", "key"])
def test_other_names_are_shown(name: str) -> None:
    assert shown(name, "value") == "value"


def test_maps_and_lists_are_looked_into() -> None:
    line = {"frames": [{"password": "x", "uuid": "y"}], "addresses": ["a://u:p@h", "a://h/x@y"]}
    assert shown("line", line) == {
        "frames": [{"password": HIDDEN, "uuid": "y"}],
        "addresses": [f"a://u:{HIDDEN}@h", "a://h/x@y"],
    }
