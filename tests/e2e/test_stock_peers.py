"""The published, unmodified client libraries as the other side of our agents."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from horde_agents.cli.embedded import EmbeddedHorde
from tests.e2e.receiver import receiving
from tests.fixtures.stock import StockPython

SCRIPTS = Path(__file__).parent / "stock"


def seed_of(key_file: Path) -> str:
    return str(json.loads(key_file.read_text())["secretSeed"]).removeprefix("0x")


def said_by(python: Path, script: str, *arguments: str) -> dict[str, Any]:
    result = subprocess.run(
        [python, SCRIPTS / script, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    said: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return said


@pytest.mark.stock
@pytest.mark.parametrize("release", ["sdk-0.0.18", "sdk-0.0.19"])
def test_stock_sdk_runs_a_job_and_reads_output_artifacts_and_failures(
    horde: EmbeddedHorde, stock_python: StockPython, tagged_image: str, release: str
) -> None:
    check_sdk_jobs(horde, stock_python(release), tagged_image, "always_on.test")


def check_sdk_jobs(horde: EmbeddedHorde, python: Path, image: str, executor_class: str) -> None:
    """The SDK of ``python`` sends a job that completes and one that fails, and reads all of both."""
    with receiving() as receiver:
        said = said_by(
            python,
            "sdk_job.py",
            horde.facilitator,
            horde.validator,
            seed_of(horde.user_file),
            image,
            f"{receiver.url}/put/out.txt",
            executor_class,
        )
    assert (said["status"], said["stdout"]) == ("completed", "Hellö, wörld!\n")
    assert said["artifacts"] == {"/artifacts/stuff": "Hellö, wörld!\n"}
    assert said["uploads"] == ["/output/out.txt"]
    assert receiver.got == {"/put/out.txt": b"from the volume"}
    assert said["listed"]
    assert said["failed_status"] == "failed"
    assert "nonzero_return_code" in said["failed_error"]
    assert said["failed_stdout"] == "so far\n"


@pytest.mark.stock
def test_stock_miner_client_runs_a_job_and_reads_receipt_pages(
    horde: EmbeddedHorde, stock_python: StockPython, job_image: str
) -> None:
    said = said_by(
        stock_python("miner-client-0.0.27"),
        "miner_client_job.py",
        horde.miner_hotkey,
        horde.miner.rsplit(":", 1)[1],
        seed_of(horde.folder / "keys" / "validator"),
        job_image,
    )
    assert said["stdout"] == "from a stock client\n"
    assert said["artifacts"] == {"/artifacts/a": "YXJ0Cg=="}
    assert said["receipts"] == ["JobAcceptedReceipt", "JobFinishedReceipt", "JobStartedReceipt"]
    assert said["errors"] == []
