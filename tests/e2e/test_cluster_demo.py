"""The command that shows the cluster: a job on GPUs that Nomad scheduled, then a dance."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(300)
def test_cluster_demo_shows_a_job_and_a_dance_without_a_restart(job_image: str) -> None:
    assert job_image
    shown = subprocess.run(
        [sys.executable, "-m", "horde_agents", "demo", "--cluster"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert "JobFinishedReceipt: signed by validator and miner" in shown.stdout
    assert "3 of 6 slots moved" in shown.stdout
    assert "The 6 holders are the same allocations as before" in shown.stdout
