"""``horde`` as people and scripts use it, against a running horde."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from horde_agents.cli.embedded import EmbeddedHorde
from horde_agents.protocol.signing import KeypairSigner

pytestmark = pytest.mark.docker


@pytest.fixture
def env(horde: EmbeddedHorde) -> dict[str, str]:
    """Who and where: what a user exports once."""
    known = {"HORDE_JOB_FACILITATOR": horde.facilitator, "HORDE_JOB_HOTKEY_FILE": str(horde.user_file)}
    return {**os.environ, **known, "NO_COLOR": "1"}


def said(env: dict[str, str], *words: str, code: int = 0) -> str:
    """What ``horde`` prints."""
    command = [sys.executable, "-m", "horde_agents", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90)
    assert done.returncode == code, (done.stdout[-500:], done.stderr[-500:])
    return done.stdout if code in {0, 1, 3, 4} else done.stderr


def told(env: dict[str, str], *words: str, code: int = 0) -> Any:
    """What ``horde … --json`` prints."""
    command = 1 if words[0] == "doctor" else 2
    return json.loads(said(env, *words[:command], "--json", *words[command:], code=code))


def test_a_job_is_run_listed_shown_and_its_story_told(env: dict[str, str], job_image: str) -> None:
    words = ("sh", "-c", "echo $WHO | tee /a/out")
    job = told(env, "job", "run", job_image, "--artifacts-dir", "/a", "-e", "WHO=me", "--", *words)
    assert (job["stdout"], list(job["artifacts"])) == ("me\n", ["/a/out"])
    uuid = job["uuid"]
    assert uuid in [row["uuid"] for row in told(env, "job", "list")["results"]]
    assert uuid in said(env, "job", "list")
    assert told(env, "job", "show", uuid)["uuid"] == uuid
    shown = said(env, "job", "show", uuid)
    assert "  me\n" in shown
    assert "artifact /a/out: 3 bytes" in shown
    assert told(env, "job", "story", uuid)[-1]["status"] == "completed"
    assert [line.split()[0] for line in said(env, "job", "story", uuid).splitlines()[1:3]] == [
        "sent",
        "received",
    ]


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["{image}", "--", "false"], 1, "nonzero_return_code"),
        (["{image}", "--class", "always_on.llm.a6000"], 3, "no_miner_for_job"),
    ],
)
def test_the_exit_code_tells_the_outcome(
    env: dict[str, str], job_image: str, words: list[str], code: int, reason: str
) -> None:
    filled = [word.replace("{image}", job_image) for word in words]
    assert reason in said(env, "job", "run", *filled, code=code)


def test_a_running_job_is_cancelled(env: dict[str, str], job_image: str) -> None:
    with started(env, "job", "run", job_image, "--json", "--", "sleep", "60") as running:
        uuid = running_job(env)
        assert "is being cancelled" in said(env, "job", "cancel", uuid)
        job = json.loads(running.communicate(timeout=60)[0])
    assert (running.returncode, job["uuid"]) == (1, uuid)
    assert job["status_history"][-1]["metadata"]["job_failure_details"]["context"]["cause"] == "cancelled"
    assert "job.already_final" in said(env, "job", "cancel", uuid, code=2)


@contextmanager
def started(env: dict[str, str], *words: str) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "horde_agents", *words]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def running_job(env: dict[str, str], limit_s: float = 60) -> str:
    """The newest job, once its container runs."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        for job in told(env, "job", "list")["results"]:
            if job["status_history"][-1]["status"] == "volumes_ready":
                return str(job["uuid"])
    raise AssertionError("no job runs")


def test_who_is_denied_may_not_submit_until_allowed_again(
    env: dict[str, str], horde: EmbeddedHorde, job_image: str
) -> None:
    config = ("--config", str(horde.folder / "facilitator.toml"))
    said(env, "facilitator", "deny", horde.user, *config, "--note", "a test")
    row = {"hotkey": horde.user, "allowed": False, "note": "a test"}
    assert row in told(env, "facilitator", "list", *config)
    time.sleep(1.1)  # the facilitator reads its list once a second
    assert "auth.hotkey_not_allowed" in said(env, "job", "run", job_image, code=2)
    said(env, "facilitator", "allow", horde.user, *config)
    time.sleep(1.1)
    assert said(env, "job", "run", job_image, "--", "echo", "back").endswith("  back\n")


def test_what_is_wrong_is_said_in_a_sentence(env: dict[str, str], horde: EmbeddedHorde) -> None:
    away = {**env, "HORDE_JOB_FACILITATOR": "http://127.0.0.1:1"}
    assert said(away, "job", "list", code=2).startswith("horde: No answer from the facilitator at")
    none = {**env, "HORDE_JOB_HOTKEY_FILE": "/nowhere"}
    assert "horde: Hotkey file /nowhere cannot be read" in said(none, "job", "list", code=2)
    assert "job.not_found" in said(env, "job", "show", "no-such-job", code=2)


def test_the_doctor_looks_at_machine_key_and_agents(env: dict[str, str], horde: EmbeddedHorde) -> None:
    miner = horde.miner.removeprefix("http://")
    words = ["doctor", "-k", str(horde.user_file), "--operator", horde.operators["miner"], "--miner", miner]
    findings = told(env | {"HORDE_DOCTOR_WAIVE": "clock runc"}, *words)
    assert {finding["check"].split()[0] for finding in findings} >= {
        "Python", "disk", "Docker", "clock", "hotkey", "agent", "miner",
    }  # fmt: skip
    assert all(finding["fine"] for finding in findings), findings
    assert "wrong" in said(env, "doctor", "--operator", "127.0.0.1:1", code=1)


def test_the_devchain_registers_a_neuron(env: dict[str, str], horde: EmbeddedHorde) -> None:
    chain = ("--chain", horde.chain.replace("ws://", "http://"))
    hotkey = KeypairSigner.from_uri("//cli-neuron").hotkey
    uid = said(env, "devchain", "register", "12", hotkey, hotkey, "--stake-tao", "1", *chain)
    assert uid.startswith("uid ")
    assert "horde: dev_register" in said(env, "devchain", "register", "99", hotkey, hotkey, *chain, code=2)


def test_a_validators_own_job_needs_no_facilitator(
    env: dict[str, str], horde: EmbeddedHorde, job_image: str
) -> None:
    config = ("--config", str(horde.folder / "validator.toml"), "--miner", horde.miner_hotkey)
    assert said(env, "validator", "run-job", job_image, *config, "--", "echo", "own") == "own\n"
