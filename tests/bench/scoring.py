"""A cycle of a million stored verdicts scored, and ten times as many: seconds, memory, and how both grow.

    python -m tests.bench.scoring [rows]

Each measurement is a process of its own on one core that opens the database, reads, sums up, decides and
stores: what a validator does at the end of a cycle. Making the rows is not timed, and neither is their
hash chain, which is paid for when a verdict is appended.
"""

import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from horde_agents.agents.validator.scoring_round import Pace, ScoringRound
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import BatchCount, NeuronFact
from horde_agents.store.engine import open_store
from tests.bench.figures import Figure

_MILLION: Final = 1_000_000
_CYCLE: Final = 5
_MINERS: Final = 250
#: Each meets every miner, so that ten million rows have more than a million sums.
_USERS: Final = 5_000
_CLASSES: Final = ("always_on.gpu.h100", "always_on.gpu.a6000", "always_on.llm.a6000", "always_on.test")
#: One row in twenty is synthetic; the uuids have the length of real ones.
_FILL: Final = f"""
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows)
INSERT INTO verdicts (attempt_uuid, job_uuid, cycle, is_organic, batch_uuid, miner_hotkey, executor_class,
  user_hotkey, outcome, why, run_us, limit_us, ended_at, chain_sha256)
SELECT printf('%036d', i), printf('%036d', i), {_CYCLE}, i % 20 > 0,
  CASE WHEN i % 20 > 0 THEN '' ELSE '11111111-2222-4333-8444-555555555555' END,
  printf('5%047d', i % {_MINERS}),
  CASE i % 4 WHEN 0 THEN '{_CLASSES[0]}' WHEN 1 THEN '{_CLASSES[1]}' WHEN 2 THEN '{_CLASSES[2]}'
    ELSE '{_CLASSES[3]}' END,
  CASE WHEN i % 20 > 0 THEN printf('5%047d', (i * 7919 + i / {_MINERS}) % {_USERS}) ELSE '' END,
  CASE i % 50 WHEN 7 THEN 'failed' WHEN 13 THEN 'not_run' WHEN 31 THEN 'horde_ended' ELSE 'passed' END,
  'as expected', (i * 104729) % 900000000, 600000000, '2026-01-02 00:00:00.000000', printf('%064d', i)
FROM n
"""


@dataclass(frozen=True, slots=True)
class Scored:
    """One run in its process: by the clock, of its core, and the process's peak of memory.

    Ratios are of the core's seconds: a neighbour that makes one of two runs wait says nothing about growth.
    """

    seconds: float
    cpu_s: float
    rss_mib: float
    uids: int

    @property
    def said(self) -> str:
        """For the figure's line."""
        return f"{self.seconds:.1f} s, {self.cpu_s:.1f} s of one core, {self.uids} UIDs"


class _Metagraph:
    async def at_cycle(self, cycle: int) -> tuple[NeuronFact, ...]:
        miners = (NeuronFact(uid, _miner(uid), f"cold-{uid // 4}", 0, permit=False) for uid in range(_MINERS))
        return (*miners, NeuronFact(_MINERS, "validator", "cold-v", 10**15, permit=True))


class _Batches:
    async def counts(self, cycle: int) -> tuple[BatchCount, ...]:
        return tuple(
            BatchCount(f"batch-{cycle}", cycle, _miner(uid), name, (uid + cycle) % 16)
            for uid in range(_MINERS)
            for name in _CLASSES
        )


def scoring_figures() -> list[Figure]:
    """A million rows against the clock, and against a tenth of them; ten millions against a million."""
    with tempfile.TemporaryDirectory(prefix="horde-bench-") as folder:
        tenth, million = (_measured(Path(folder), rows, 3) for rows in (_MILLION // 10, _MILLION))
        ten = _measured(Path(folder), 10 * _MILLION, 1)
    return [
        Figure("1 million stored verdicts scored", million.seconds, 10, "s", detail=million.said),
        Figure("its peak memory", million.rss_mib, 1024, "MiB"),
        Figure("1 million / 100 thousand verdicts", million.cpu_s / tenth.cpu_s, 11, "x", detail=tenth.said),
        Figure("10 million / 1 million verdicts", ten.cpu_s / million.cpu_s, 11, "x", detail=ten.said),
        Figure("peak memory of 10 million", ten.rss_mib, 1024, "MiB"),
    ]


def _measured(folder: Path, rows: int, runs: int) -> Scored:
    """The best of some runs over a database of its own, which is removed afterwards."""
    file = folder / f"{rows}.sqlite3"
    asyncio.run(_fill(file, rows))
    best = min((_run(file) for _ in range(runs)), key=lambda run: run.seconds)
    file.unlink()
    return best


async def _fill(file: Path, rows: int) -> None:
    async with open_store(f"sqlite:///{file}"):
        pass
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=OFF")  # the store turns its own back on
        connection.execute(_FILL, {"rows": rows})
    connection.close()


def _run(file: Path) -> Scored:
    command = [sys.executable, "-m", "tests.bench.scoring", "--once", str(file)]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return Scored(**json.loads(said.stdout.splitlines()[-1]))  # logs come first


async def _once(file: Path) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    async with open_store(f"sqlite:///{file}") as store:
        pace = Pace(netuid=12, length_blocks=722, block_us=12_000_000)
        scoring = ScoringRound(store, "validator", pace, _Metagraph(), _Batches(), _shares)
        begun, cpu_begun = perf_counter(), process_time()
        result = await scoring.score(_CYCLE, Configuration())
        seconds, cpu_s = perf_counter() - begun, process_time() - cpu_begun
    assert result is not None
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM cycle_scores")
    connection.close()
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(asdict(Scored(seconds, cpu_s, rss_mib, len(result.uids)))))


def _shares(stakes_rao: Mapping[str, int], _: Configuration) -> dict[str, Fraction]:
    return dict.fromkeys(stakes_rao, Fraction(1))


def _miner(uid: int) -> str:
    return f"5{uid:047}"


def main() -> None:
    """Print the figures, or measure one file for them."""
    if sys.argv[1:2] == ["--once"]:
        asyncio.run(_once(Path(sys.argv[2])))
        return
    with tempfile.TemporaryDirectory(prefix="horde-bench-") as folder:
        print(_measured(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else _MILLION, 3))


if __name__ == "__main__":
    main()
