"""The command that shows validators at work: batches, scores, revealed weights, and a cheat that loses."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(600)
def test_cycles_demo_shows_weights_that_replay_and_a_cheat_without_any(job_image: str) -> None:
    assert job_image
    shown = subprocess.run(
        [sys.executable, "-m", "horde_agents", "demo", "--cycles", "1"],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert "comes out the same, byte for byte." in shown.stdout
    rows = [line.split() for line in shown.stdout.splitlines() if "validator" in line and "miner" in line]
    weights = {(row[1], row[2]): int(row[-1]) for row in rows if row[-1].isdigit()}
    assert {validator for validator, _ in weights} == {"validator", "validator-2"}
    assert all((weight == 0) is (miner == "miner-3") for (_, miner), weight in weights.items()), weights
