"""The published, unmodified SDK through executors that Nomad keeps."""

import pytest

from horde_agents.cli.cluster import GPU_CLASS, ClusterHorde
from tests.e2e.stock_jobs import Entrance, check_sdk_jobs
from tests.fixtures.stock import StockPython


@pytest.mark.stock
def test_stock_sdk_runs_jobs_on_gpus_that_nomad_scheduled(
    cluster: ClusterHorde, stock_python: StockPython, tagged_image: str
) -> None:
    horde = cluster.horde
    entrance = Entrance(horde.facilitator, horde.validator, horde.user_file, GPU_CLASS)
    check_sdk_jobs(stock_python("sdk-0.0.19"), entrance, tagged_image)
