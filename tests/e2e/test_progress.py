"""A long job in a real container leaves progress receipts, which its miner publishes."""

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from horde_agents.cli.embedded import EmbeddedHorde, EmbeddedPlan, embedded_horde
from horde_agents.protocol.signing import from_hex, verify
from horde_agents.receipts.pages import page_of
from horde_agents.receipts.payloads import read_progress, signed_text
from horde_agents.testing.wallets import hotkey_file
from tests.e2e.users import outcome, request, state_of

INTERVAL_S = 2
#: Twice the executor's heartbeat, and more: at least one receipt is due while the job runs.
RUNS_S = 12


def signed_knobs(folder: Path) -> dict[str, Any]:
    """Settings of a validator that takes this configuration from its first cycle on."""
    key, signer = hotkey_file(folder, "owner")
    knobs, signed = folder / "knobs.json", folder / "signed.json"
    knobs.write_text(json.dumps({"version": 2, "progress_interval_s": INTERVAL_S}))
    horde_command("config", "sign", knobs, "--hotkey-file", key, "--out", signed)
    return {"configuration_source": str(signed), "configuration_signers": [signer.hotkey]}


def horde_command(*words: str | Path) -> str:
    command = [sys.executable, "-m", "horde_agents", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def progress_pages(miner: str, since_s: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for page in range(page_of(since_s), page_of(time.time()) + 1):
        try:
            with urllib.request.urlopen(f"{miner}/receipts/progress/{page}.jsonl", timeout=5) as reply:
                found += [json.loads(line) for line in reply.read().splitlines()]
        except HTTPError as error:
            error.close()
            if error.code != 404:  # else there is nothing on this page
                raise
    return found


@pytest.fixture
def long_horde(tmp_path: Path, job_image: str) -> Iterator[EmbeddedHorde]:
    assert job_image
    plan = EmbeddedPlan(overrides={"validator": signed_knobs(tmp_path)})
    with embedded_horde(tmp_path / "horde", plan) as horde:
        yield horde


async def test_a_long_job_leaves_progress_receipts_signed_by_both(
    long_horde: EmbeddedHorde, job_image: str
) -> None:
    begun_s = time.time()
    job = await outcome(long_horde, request(job_image, "sleep", str(RUNS_S), execution_time_limit=30))
    assert state_of(job) == "completed", job["status_history"][-1]
    lines = await asyncio.to_thread(progress_pages, long_horde.miner, begun_s)
    assert lines, "no progress receipt is on the miner's pages"
    payloads = [read_progress(line["payload"]) for line in lines]
    for line, payload in zip(lines, payloads, strict=True):
        text = signed_text(payload)
        assert verify(payload.validator_hotkey, text, from_hex(line["validator_signature"]))
        assert verify(payload.miner_hotkey, text, from_hex(line["miner_signature"]))
    assert [payload.sequence for payload in payloads] == list(range(1, len(payloads) + 1))
    proven_us = [payload.run_us for payload in payloads]
    assert proven_us == sorted(proven_us)
    assert proven_us[0] >= INTERVAL_S * 1_000_000
    assert proven_us[-1] <= (time.time() - begun_s) * 1_000_000
