"""A batch to 256 executors: how far apart their payloads arrive at the executors' links.

A real validator's run of a batch, a real miner, and simulated executors whose containers are staged, each
in a process of its own. An executor notes when its payload has come over its TLS link; the skew of one is
its distance from the first. All processes read the same monotonic clock of this machine.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from horde_agents.agents.validator.app import assembled
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.routing import Miner
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.agents.validator.synthetic.excusing import Excusing
from horde_agents.agents.validator.synthetic.kinds import load_kind
from horde_agents.agents.validator.synthetic.runner import BatchRun, new_batch_uuid
from horde_agents.protocol.signing import Hotkey
from horde_agents.runtime.clock import now
from horde_agents.store import batches
from horde_agents.store.batches import Batch, Purpose
from horde_agents.testing.wallets import hotkey_file
from tests.bench.beside import Beside, beside, heard
from tests.bench.figures import Figure, shown
from tests.bench.horde_sim import (
    CLASS,
    SimMiner,
    consul,
    consul_store,
    record,
    sim_holders,
    sim_miners,
    slots,
)

_EXECUTORS: Final = 256
_ROUNDS: Final = 7
_SETTLE_S: Final = 2.0
#: Seconds after which a simulated executor reports: the one process that plays them all has time then.
_RUN_S: Final = 0.5


def batch_figures() -> list[Figure]:
    """The skew of several batches, the median of their p99."""
    with tempfile.TemporaryDirectory() as text, consul(Path(text)) as url:
        folder = Path(text)
        _, signer = hotkey_file(folder, "validator")
        more = {"allowed_validators": [signer.hotkey], "max_open_attempts": 2 * _EXECUTORS}
        with (
            sim_miners(folder, url, ["miner"], **more) as [miner],
            _executors(folder, url, miner) as holders,
            beside(_validate, str(folder), miner.hotkey, miner.port) as validator,
        ):
            rounds = [_round(validator, holders) for _ in range(_ROUNDS)]
    skews = [skew for skew, _ in rounds]
    detail = f"{shown(skews)}; written within {median(written for _, written in rounds):.3f} s"
    return [
        Figure(
            f"payloads of a batch at {_EXECUTORS} executors, p99",
            median(skews) * 1000,
            25,
            "ms",
            detail=detail,
        )
    ]


@contextmanager
def _executors(folder: Path, url: str, miner: SimMiner) -> Iterator[Beside]:
    asyncio.run(_record(url, miner))
    addresses = {slot.slot_id: miner.address for slot in slots(_EXECUTORS, [miner.hotkey])}
    with sim_holders(folder, addresses, _RUN_S) as holders:
        yield holders


async def _record(url: str, miner: SimMiner) -> None:
    async with consul_store(url) as store:
        await record(store, slots(_EXECUTORS, [miner.hotkey]))


def _round(validator: Beside, holders: Beside) -> tuple[float, float]:
    """The p99 of the skew in seconds, and the seconds in which the validator wrote all payloads."""
    time.sleep(_SETTLE_S)
    passed, written_s = validator.ask("batch")
    arrivals = sorted(holders.ask("arrivals"))
    assert passed == len(arrivals) == _EXECUTORS, (passed, len(arrivals))
    return quantiles([at_s - arrivals[0] for at_s in arrivals], n=100)[98], written_s


async def _validate(pipe: Connection, folder: str, miner_hotkey: str, port: int) -> None:
    """Run a batch whenever asked; how many passed, and how long the writing took."""
    settings = ValidatorSettings(
        hotkey_file=Path(folder) / "validator.hotkey",
        database_url=f"sqlite:///{folder}/validator.sqlite3",
        synthetic_image="job:1",
        startup_s=20.0,
        connect_s=30.0,
        reservation_s=20.0,
    )
    async with assembled(settings) as validator:
        while await heard(pipe) is not None:
            pipe.send(await _batch(validator.parts, Miner(Hotkey(miner_hotkey), "127.0.0.1", port)))


async def _batch(parts: Parts, miner: Miner) -> tuple[int, float]:
    kind = load_kind("digest", parts)
    batch = Batch(new_batch_uuid(), 1, Purpose.BATCH, 1, now())
    await parts.store.writer.run(lambda connection: batches.plan(connection, [batch]))
    offered: dict[str, dict[str, int]] = {miner.hotkey: {CLASS: _EXECUTORS}}
    run = BatchRun(parts, batch, offered, {}, Excusing(parts, offered, 0))
    for task in (await kind.prepare({CLASS: _EXECUTORS}, batch.uuid))[CLASS]:
        run.seat(miner, CLASS, kind, task)
    ended = await run.run()
    passed = ended.details["measured"][miner.hotkey][CLASS]
    return passed, ended.details["written_within_us"] / 1_000_000
