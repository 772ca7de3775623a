"""The pool of docs/develop/executor-pools.md, word for word, serves a miner."""

import asyncio
import re
from pathlib import Path

from horde_agents.cli.embedded import EmbeddedPlan, embedded_horde
from tests.e2e.users import outcome, request

PAGE = Path(__file__).parents[2] / "docs" / "develop" / "executor-pools.md"


def test_the_example_pool_runs_a_job(tmp_path: Path, job_image: str) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "my_pool.py").write_text(example)
    settings = {"miner": {"pool": "my_pool:OneSlotPool"}}
    with embedded_horde(tmp_path / "horde", EmbeddedPlan(overrides=settings, python_path=tmp_path)) as horde:
        job = asyncio.run(outcome(horde, request(job_image, "echo", "from my own pool")))
    assert job["stdout"] == "from my own pool\n", job["status_history"][-1]
