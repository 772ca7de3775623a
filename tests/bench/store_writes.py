"""How many jobs a second the store takes: a transaction for each, against grouped ones, side by side.

    python -m tests.bench.store_writes [postgresql://…]

Grouping is only worth its code while the second number is many times the first.
"""

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Final
from uuid import uuid4

from horde_agents.store import jobs
from horde_agents.store.engine import Store, open_store
from horde_agents.store.jobs import StoredJob
from tests.bench.figures import Figure

_ROUNDS: Final = 3
_ALONE: Final = 150
_GROUPED: Final = 1500
_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class StoreRates:
    """Stored jobs a second, each with its first event; the best of the rounds."""

    alone: float
    grouped: float

    @property
    def ratio(self) -> float:
        """How many times faster grouping is."""
        return self.grouped / self.alone


def store_figures() -> list[Figure]:
    """The ratio of both ways on SQLite."""
    with tempfile.TemporaryDirectory(prefix="horde-bench-") as folder:
        rates = asyncio.run(store_rates(f"sqlite:///{folder}/bench.sqlite3"))
    detail = f"{rates.grouped:.0f}/s grouped, {rates.alone:.0f}/s alone"
    name = "grouped writes / a transaction each"
    return [Figure(name, rates.ratio, 4, "x", at_most=False, detail=detail)]


async def store_rates(url: str) -> StoreRates:
    """Measure both ways on the database at ``url``, taking turns."""
    alone, grouped = 0.0, 0.0
    async with open_store(url) as store:
        await _rate(store, _ALONE, at_once=1)  # opens connections, compiles statements
        for _ in range(_ROUNDS):
            alone = max(alone, await _rate(store, _ALONE, at_once=1))
            grouped = max(grouped, await _rate(store, _GROUPED, at_once=_AT_ONCE))
    return StoreRates(alone, grouped)


async def _rate(store: Store, count: int, at_once: int) -> float:
    work = iter([_job() for _ in range(count)])

    async def caller() -> None:
        for job in work:
            await _store_one(store, job)

    start_s = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(caller())
    return count / (perf_counter() - start_s)


async def _store_one(store: Store, job: StoredJob) -> None:
    await store.writer.run(lambda connection: jobs.add(connection, job))


def _job() -> StoredJob:
    uuid = str(uuid4())
    at = datetime.now(UTC)
    return StoredJob(
        uuid=uuid,
        owner_hotkey="5" * 48,
        signatory="5" * 48,
        timestamp_ns=uuid4().int >> 66,
        signature=uuid,
        signed_sha256="0" * 64,
        request_json='{"docker_image": "alpine"}' * 20,
        validator_hotkey="5" * 48,
        tag="",
        created_at=at,
        deadline_at=at + timedelta(minutes=10),
    )


def main() -> None:
    """Print both rates."""
    with tempfile.TemporaryDirectory(prefix="horde-bench-") as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/bench.sqlite3"
        rates = asyncio.run(store_rates(url))
    figures = f"alone {rates.alone:.0f}/s, grouped {rates.grouped:.0f}/s, {rates.ratio:.1f} times as many"
    sys.stdout.write(f"jobs stored: {figures}\n")


if __name__ == "__main__":
    main()
