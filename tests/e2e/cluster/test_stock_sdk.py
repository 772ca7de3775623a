"""The published, unmodified SDK through executors that Nomad keeps."""

import pytest

from horde_agents.cli.cluster import GPU_CLASS, ClusterHorde
from tests.e2e.test_stock_peers import check_sdk_jobs
from tests.fixtures.stock import StockPython


@pytest.mark.stock
def test_stock_sdk_runs_jobs_on_gpus_that_nomad_scheduled(
    cluster: ClusterHorde, stock_python: StockPython, tagged_image: str
) -> None:
    check_sdk_jobs(cluster.horde, stock_python("sdk-0.0.19"), tagged_image, GPU_CLASS)
