"""A routing decision among ten thousand executors: the facts gathered from memory, and the draw."""

import asyncio
import time
from datetime import timedelta
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import uuid4

from horde_agents.agents.validator.directory import Directory
from horde_agents.agents.validator.finding import Finding, facts_now
from horde_agents.agents.validator.occupancy import Occupancy
from horde_agents.agents.validator.prices import Prices
from horde_agents.agents.validator.reliability import Reliability
from horde_agents.agents.validator.routing import Miner, route
from horde_agents.agents.validator.shares import OwnShares
from horde_agents.protocol.signing import Hotkey
from horde_agents.receipts.payloads import JobStarted
from horde_agents.runtime.clock import now
from horde_agents.scoring.configuration import Configuration
from horde_agents.store.engine import open_store
from tests.bench.figures import Figure, shown

_MINERS: Final = 256
_EXECUTORS_EACH: Final = 40
_DECISIONS: Final = 2000
_CLASSES: Final = ("always_on.gpu.a100-40gb", "always_on.gpu.h100")


def routing_figures() -> list[Figure]:
    """The decision by itself, and with the list of barred miners read from SQLite."""
    return [_by_itself(), asyncio.run(_with_the_store())]


def _by_itself() -> Figure:
    """256 miners of two classes each, half of their executors busy, prices announced, incidents known."""
    rng = Random(3)
    miners = _miners()
    parts = _parts(miners, rng)
    took_s, worked_s = [], []
    for _ in range(_DECISIONS):
        begun, worked = time.perf_counter(), time.thread_time()
        at = now()
        order = route(miners, _CLASSES, facts_now(parts, _CLASSES, {}, frozenset(), at), rng)
        took_s.append(time.perf_counter() - begun)
        worked_s.append(time.thread_time() - worked)
        assert isinstance(order, tuple)
        parts.occupancy.note(_started(order[0].miner, order[0].executor_class, ttl_s=1))
    alone = f"; of processor time {_p99_ms(worked_s):.2f} ms"
    return _figure("a routing decision among 10,000 executors, p99", took_s, alone)


async def _with_the_store() -> Figure:
    rng, took_s = Random(3), []
    miners = _miners()
    with TemporaryDirectory() as folder:
        async with open_store(f"sqlite:///{folder}/bench.sqlite3") as store:
            parts = _parts(miners, rng)
            parts.store, parts.rng = store, rng
            parts.directory = SimpleNamespace(miners=lambda: miners)
            finding = Finding(parts, cast("Any", None))
            for _ in range(_DECISIONS // 4):
                begun = time.perf_counter()
                found = await finding.others(_CLASSES[0], frozenset())
                took_s.append(time.perf_counter() - begun)
                assert len(found) == _MINERS
    return _figure("the same with barred miners from SQLite, p99", took_s)


def _figure(name: str, took_s: list[float], more: str = "") -> Figure:
    detail = f"of {_MINERS} miners x {_EXECUTORS_EACH}; {shown(took_s)}{more}"
    return Figure(name, _p99_ms(took_s), 5, "ms", detail=detail)


def _p99_ms(values_s: list[float]) -> float:
    return sorted(values_s)[len(values_s) * 99 // 100] * 1000


def _miners() -> list[Miner]:
    return [Miner(Hotkey(f"hotkey-{n:041d}"), "127.0.0.1", 8000) for n in range(_MINERS)]


def _parts(miners: list[Miner], rng: Random) -> Any:
    half = _EXECUTORS_EACH // 2
    counts = {miner.hotkey: dict.fromkeys(_CLASSES, half) for miner in miners}
    occupancy, others, prices, reliability = Occupancy(), Occupancy(), Prices(), Reliability(3600.0)
    stakes_rao = {f"validator-{n}": 10**12 * (n + 1) for n in range(64)}
    directory, configuration = Directory(stake_rao=stakes_rao), Configuration()
    shares = OwnShares(3600.0, Hotkey("validator-3"), directory)
    for miner in miners:
        for n in range(half):
            shares.began(f"{miner.hotkey}-{n}", miner.hotkey, _CLASSES[n % 2], now())
        prices.note(miner.hotkey, {name: rng.randrange(1, 10**8) for name in _CLASSES})
        reliability.tried(miner.hotkey, 0.0)
        for name in _CLASSES:
            for book in (occupancy, others):
                for _ in range(half // 4):
                    book.note(_started(miner, name, ttl_s=3600))
    return SimpleNamespace(
        manifests=SimpleNamespace(counts=lambda: dict(counts)),
        occupancy=occupancy,
        others_occupancy=others,
        prices=prices,
        reliability=reliability,
        shares=shares,
        knobs=lambda: configuration,
    )


def _started(miner: Miner, executor_class: str, ttl_s: int) -> JobStarted:
    return JobStarted(
        job_uuid=str(uuid4()),
        miner_hotkey=miner.hotkey,
        validator_hotkey="validator",
        timestamp=now() - timedelta(milliseconds=1),
        executor_class=executor_class,
        is_organic=True,
        ttl=ttl_s,
    )
