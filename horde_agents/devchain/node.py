"""A chain that lives: blocks at a pace or on demand, kept in a journal, told to subscribers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from horde_agents.devchain.chain import Block, Devchain
from horde_agents.devchain.extrinsics import Extrinsic, read
from horde_agents.devchain.journal import Journal
from horde_agents.devchain.metadata import load_recorded
from horde_agents.devchain.subnets import Refused, Subnets

_SLOT_ON_DEMAND_MS: Final = 1000
HeadWatcher = Callable[[Block], None]


@dataclass(slots=True)
class Node:
    """The chain with its journal and its listeners; built by ``running_node``."""

    chain: Devchain
    journal: Journal
    heads: set[HeadWatcher] = field(default_factory=set)

    def new_block(self) -> Block:
        """Build a block now: on disk first, then told."""
        now_ms = int(time.time() * 1000)
        pending = self.chain.due_extrinsics()
        self.journal.append({"at": now_ms, "extrinsics": [item.raw.hex() for item in pending]})
        block, done = self.chain.build(now_ms, pending)
        for extrinsic in done:
            if extrinsic.watch:
                extrinsic.watch({"inBlock": block.hash})
        for watcher in list(self.heads):
            watcher(block)
        for extrinsic in done:
            if extrinsic.watch:
                extrinsic.watch({"finalized": block.hash})
        return block

    def change(self, kind: str, arguments: list[Any]) -> object:
        """A developer's change, outside any extrinsic; journalled like a block.

        Raises:
            Refused: the chain's own no.
            KeyError: no such change.
        """
        result = _change(self.chain, kind, arguments)
        self.journal.append({"change": kind, "arguments": arguments})
        return result

    async def produce(self) -> None:
        """Build blocks at the chain's pace for ever."""
        slot_s = self.chain.slot_ms / 1000
        due = time.monotonic()
        while True:
            due += slot_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.new_block()


@asynccontextmanager
async def running_node(
    journal_file: Path, *, block_time_s: float, netuids: Iterable[int] = (12,), tempo: int = 20
) -> AsyncIterator[Node]:
    """A node on the chain of ``journal_file``; ``block_time_s`` 0 builds blocks on demand only.

    Raises:
        MetadataMissing: set-up has not fetched the runtime metadata.
        JournalUnreadable: the file is no journal.
    """
    slot_ms = int(block_time_s * 1000) or _SLOT_ON_DEMAND_MS
    identity = {"netuids": sorted(netuids), "tempo": tempo, "slot_ms": slot_ms}
    journal = Journal.open(journal_file, identity)
    try:
        node = Node(_replayed(journal), journal)
        if not block_time_s:
            yield node
            return
        producing = asyncio.create_task(node.produce(), name="blocks")
        try:
            yield node
        finally:
            producing.cancel()
            await asyncio.wait([producing])
    finally:
        journal.close()


def _replayed(journal: Journal) -> Devchain:
    known = journal.identity
    chain = Devchain.fresh(
        load_recorded(),
        slot_ms=known["slot_ms"],
        seed=bytes.fromhex(known["seed"]),
        netuids=known["netuids"],
        tempo=known["tempo"],
    )
    for entry in journal.entries:
        if "change" in entry:
            _change(chain, entry["change"], entry["arguments"])
        else:
            raws = [bytes.fromhex(text) for text in entry["extrinsics"]]
            pending: list[Extrinsic] = [read(chain.runtime, raw, chain) for raw in raws]
            chain.build(entry["at"], pending)
    journal.entries.clear()
    return chain


def _change(chain: Devchain, kind: str, arguments: list[Any]) -> object:
    return chain.run_as_root(lambda subnets: _CHANGES[kind](subnets, *arguments))


def _register(subnets: Subnets, netuid: int, hotkey: str, coldkey: str) -> int:
    """Registering twice is fine: a developer's script may run again."""
    known = subnets.uid(netuid, hotkey)
    return subnets.register(netuid, hotkey, coldkey) if known is None else known


def _stake(subnets: Subnets, netuid: int, hotkey: str, rao: int) -> int:
    """Set a stake and give the permit that the next epoch would give."""
    subnets.add_stake(hotkey, netuid, rao - subnets.stake(hotkey, netuid))
    uid = subnets.uid(netuid, hotkey)
    if uid is not None:
        permits = list(subnets.read("ValidatorPermit", netuid))
        permits[uid] = rao > 0
        subnets.write("ValidatorPermit", [netuid], permits)
    return rao


def _set_storage(subnets: Subnets, pallet: str, item: str, params: list[object], value: object) -> bool:
    subnets.storage.put(pallet, item, params, value)
    return True


_CHANGES: Final[dict[str, Callable[..., object]]] = {
    "register": _register,
    "setStake": _stake,
    "setStorage": _set_storage,
}

__all__ = ["Node", "Refused", "running_node"]
