"""A dance of 1,000 slots between two miners, against bare transactions and bare WebSocket reconnects."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from horde_agents.clients.consul import ConsulCoordination
from horde_agents.placement.coordination import MAX_CHANGES, Delete, Put
from horde_agents.placement.records import HordeState, Keys, MoveRecord, as_json, read_moves, read_state
from tests.bench.bare_sockets import bare_sockets
from tests.bench.beside import Beside
from tests.bench.figures import Figure, ratio, shown
from tests.bench.horde_sim import (
    HORDE,
    Moved,
    SimMiner,
    consul,
    consul_store,
    record,
    sim_holders,
    sim_miners,
    slots,
)

_SLOTS: Final = 1000
_ROUNDS: Final = 3
_KEYS: Final = Keys(HORDE)
_BARE_KEYS: Final = Keys("bench-bare")


def dance_figures() -> list[Figure]:
    """All slots change their UID, three times."""
    more = {"dance_largest_share": 1.0, "dance_least_per_class": 0, "dance": "slots"}
    with (
        tempfile.TemporaryDirectory() as text,
        consul(Path(text)) as url,
        sim_miners(Path(text), url, ["miner", "miner-2"], **more) as miners,
    ):
        addresses = asyncio.run(_record(url, miners))
        bare_folder = Path(text) / "bare"
        with sim_holders(Path(text), addresses) as holders, bare_sockets(bare_folder, _SLOTS) as bare:
            return asyncio.run(_danced(url, holders, bare))


async def _record(url: str, miners: Sequence[SimMiner]) -> dict[str, str]:
    records = slots(_SLOTS, [miner.hotkey for miner in miners])
    async with consul_store(url) as store:
        await record(store, records)
    by_hotkey = {miner.hotkey: miner.address for miner in miners}
    return {slot.slot_id: by_hotkey[slot.owner] for slot in records}


async def _danced(url: str, holders: Beside, bare: Beside) -> list[Figure]:
    writes, bare_writes, ways, bare_ways, longest = [], [], [], [], 0.0
    async with consul_store(url) as store:
        for _ in range(_ROUNDS):
            took, moved, history = await _dance(store, holders)
            assert len(moved) == _SLOTS, f"{len(moved)} of {_SLOTS} slots were in service again"
            writes.append(took)
            bare_writes.append(await _bare_writes_s(store, history))
            ways.append(max(m.welcome_s for m in moved) - min(m.told_s for m in moved))
            bare_ways.append(await asyncio.to_thread(bare.ask, "reconnect"))
            longest = max(longest, *(m.welcome_s - m.told_s for m in moved))
    connections = holders.ask("connections") - _SLOTS * _ROUNDS
    written, went = f"{shown(writes)}, {shown(bare_writes)}", f"{shown(ways)}, {shown(bare_ways)}"
    return [
        Figure(
            f"writes of a dance of {_SLOTS} / bare transactions",
            ratio(writes, bare_writes),
            1.5,
            "x",
            detail=written,
        ),
        Figure("its reconnects / bare WebSocket reconnects", ratio(ways, bare_ways), 2, "x", detail=went),
        Figure("a slot unserved in it, longest", longest, 2, "s"),
        Figure("connections of a slot beside those of its moves", connections / _SLOTS, 1, ""),
    ]


async def _dance(store: ConsulCoordination, holders: Beside) -> tuple[float, list[Moved], list[MoveRecord]]:
    """One dance: seconds from its order to its last write, each slot's way, and what was written."""
    known = len((await store.snapshot(_KEYS.history)).entries)
    begun = time.perf_counter()
    assert await store.commit([Put(_KEYS.dance, "", 0)])
    index = 1
    while True:
        snapshot = await store.changed(_KEYS.dance, index, 30)
        index = snapshot.index
        if not snapshot.entries:
            break
    took = time.perf_counter() - begun
    moved: list[Moved] = []
    async with asyncio.timeout(60):
        while len(moved) < _SLOTS:
            moved += await asyncio.to_thread(holders.ask, "moves")
            await asyncio.sleep(0.2)
    return took, moved, read_moves(await store.snapshot(_KEYS.history))[known:]


async def _bare_writes_s(store: ConsulCoordination, history: Sequence[MoveRecord]) -> float:
    """Seconds for transactions of the same form and size on keys that nobody watches."""
    await _clear(store)
    state: HordeState = read_state(_KEYS, await store.snapshot(_KEYS.prefix))
    records = [replace(slot, epoch=slot.epoch - 1) for slot in state.slots.values()]
    for start in range(0, len(records), MAX_CHANGES):
        some = records[start : start + MAX_CHANGES]
        assert await store.commit([Put(_BARE_KEYS.slot(slot.slot_id), as_json(slot), 0) for slot in some])
    indices = {key: entry.index for key, entry in (await store.snapshot(_BARE_KEYS.prefix)).entries.items()}
    begun = time.perf_counter()
    for number, line in enumerate(history):
        puts = [
            Put(_BARE_KEYS.slot(slot_id), as_json(state.slots[slot_id]), indices[_BARE_KEYS.slot(slot_id)])
            for slot_id, _, _ in line.moves
        ]
        assert await store.commit([*puts, Put(f"{_BARE_KEYS.history}{number}", as_json(line), None)])
    return time.perf_counter() - begun


async def _clear(store: ConsulCoordination) -> None:
    entries = (await store.snapshot(_BARE_KEYS.prefix)).entries
    deletes = [Delete(key, entry.index) for key, entry in entries.items()]
    for start in range(0, len(deletes), MAX_CHANGES):
        assert await store.commit(deletes[start : start + MAX_CHANGES])
