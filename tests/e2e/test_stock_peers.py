"""The published, unmodified client libraries as the other side of our agents."""

import pytest

from horde_agents.cli.embedded import EmbeddedHorde
from tests.e2e.stock_jobs import Entrance, check_sdk_jobs, said_by, seed_of
from tests.fixtures.stock import StockPython


@pytest.mark.stock
@pytest.mark.parametrize("release", ["sdk-0.0.18", "sdk-0.0.19"])
def test_stock_sdk_runs_a_job_and_reads_output_artifacts_and_failures(
    horde: EmbeddedHorde, stock_python: StockPython, tagged_image: str, release: str
) -> None:
    check_sdk_jobs(stock_python(release), entrance_of(horde, "always_on.test"), tagged_image)


def entrance_of(horde: EmbeddedHorde, executor_class: str) -> Entrance:
    return Entrance(horde.facilitator, horde.validator, horde.user_file, executor_class)


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
