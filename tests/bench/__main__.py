"""``make bench``: measure, and print goal, result and verdict."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from tests.bench.batch import batch_figures
from tests.bench.busy_miner import busy_miner_figures
from tests.bench.cluster import cluster_figures
from tests.bench.dance import dance_figures
from tests.bench.figures import Figure
from tests.bench.jobs import job_figures
from tests.bench.receipts import receipt_figures
from tests.bench.routing import routing_figures
from tests.bench.scoring import scoring_figures
from tests.bench.store_writes import store_figures
from tests.bench.submissions import submission_figures


def main() -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    load = f"{os.getloadavg()[0]:.1f} processes wanted one in the last minute"
    print(f"{machine}, {time.strftime('%Y-%m-%d')}; {load}")
    wanted = sys.argv[1:] or list(MEASURES)
    for measure in (MEASURES[name] for name in wanted):
        for figure in measure():
            print(figure.line(), flush=True)


def demo_figures() -> list[Figure]:
    """``horde demo`` on a machine that has everything."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "horde_agents", "demo", "--json"], check=True, capture_output=True)
    return [Figure("make demo when everything is there", time.perf_counter() - begun, 30, "s")]


#: By name, so that ``python -m tests.bench dance`` takes one alone.
MEASURES: Final[dict[str, Callable[[], list[Figure]]]] = {
    "store": store_figures,
    "submissions": submission_figures,
    "jobs": job_figures,
    "routing": routing_figures,
    "receipts": receipt_figures,
    "demo": demo_figures,
    "cluster": cluster_figures,
    "dance": dance_figures,
    "busy_miner": busy_miner_figures,
    "scoring": scoring_figures,
    "batch": batch_figures,
}


if __name__ == "__main__":
    main()
