"""``make bench``: measure, and print goal, result and verdict."""

import os
import platform
import subprocess
import sys
import time

from tests.bench.figures import Figure
from tests.bench.jobs import job_figures
from tests.bench.store_writes import store_figures
from tests.bench.submissions import submission_figures


def main() -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    print(f"{machine}, {time.strftime('%Y-%m-%d')}")
    for measure in (store_figures, submission_figures, job_figures, demo_figures):
        for figure in measure():
            print(figure.line(), flush=True)


def demo_figures() -> list[Figure]:
    """``horde demo`` on a machine that has everything."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "horde_agents", "demo", "--json"], check=True, capture_output=True)
    return [Figure("make demo when everything is there", time.perf_counter() - begun, 30, "s")]


if __name__ == "__main__":
    main()
