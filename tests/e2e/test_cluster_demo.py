"""The command that shows the cluster: a job on GPUs that Nomad scheduled, then a dance; as in README."""

import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


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
    readme = README.read_text().split("<!-- cluster output: begin -->\n```\n")[1].split("```\n")[0]
    assert set(readme.splitlines()) <= set(shown.stdout.splitlines()), shown.stdout
