"""Follows the chain's head and keeps what a cycle is decided by: its block, its seed, its metagraph.

A chain that stalls, goes back or runs ahead of the clock is noticed and not followed.
"""

import asyncio
import json
from dataclasses import asdict, dataclass, field
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.clients.chain import ChainClient, ChainFault, ChainRefused, ChainUnfit, Metagraph
from horde_agents.runtime.clock import monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.cycles import Cycle, cycle_number, cycle_of
from horde_agents.scoring.facts import NeuronFact
from horde_agents.store import facts
from horde_agents.store.engine import Store

#: Blocks behind the head that are taken as settled.
SAFE_BLOCKS: Final = 2
#: Blocks by which a chain may be ahead of what its pace allows.
_SLACK_BLOCKS: Final = 20
#: Block times without a new block after which the chain counts as stalled.
_STALL_BLOCKS: Final = 10
#: Blocks after which a snapshot that the chain refused is asked for again.
_RETRY_BLOCKS: Final = 5
#: Snapshots kept.
_KEEP_CYCLES: Final = 16
_LEAST_POLL_S: Final = 0.1
_MOST_POLL_S: Final = 4.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The subnet at a cycle's first block; ``seed`` is the hash of the cycle's seed block.

    ``block_hash`` is the first block's, ``taken_at_s`` the wall time in Unix seconds.
    """

    cycle: int
    block: int
    seed: bytes
    neurons: tuple[NeuronFact, ...]
    block_hash: bytes = b""
    taken_at_s: int = 0

    @property
    def validators(self) -> dict[str, int]:
        """Stake in rao of those with a permit, by hotkey."""
        return {fact.hotkey: fact.stake_rao for fact in self.neurons if fact.permit}


@dataclass(slots=True)
class CycleClock:
    """The one owner of "which block is it"; ``serve`` keeps it going."""

    chain: ChainClient
    store: Store
    netuid: int
    cycle_blocks: int
    block_s: float
    _head: int | None = None
    _head_before_start: int | None = None
    _retry_at_s: float = 0.0
    _moved_at_s: float = field(default_factory=monotonic_s)
    _trouble: str = "the chain has not been read since the start"
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _snapshots: dict[int, Snapshot] = field(default_factory=dict)

    async def load(self) -> None:
        """Take up the snapshots of an earlier process."""
        async with self.store.reading() as connection:
            for name, text in (await facts.named(connection, _PREFIX)).items():
                self._snapshots[int(name.removeprefix(_PREFIX))] = _read(text)
        newest = max(self._snapshots.values(), key=lambda known: known.block, default=None)
        if newest is not None:
            self._head_before_start = newest.block
            self._moved_at_s = monotonic_s() - max(now().timestamp() - newest.taken_at_s, 0.0)

    async def serve(self) -> NoReturn:
        """Follow the head for ever."""
        pause_s = min(max(self.block_s / 2, _LEAST_POLL_S), _MOST_POLL_S)
        while True:
            try:
                await self._follow(await self.chain.head())
                await self._take_snapshot()
            except ChainFault as error:
                if str(error) != self._trouble:
                    _log.warning("the chain was not read", why=str(error))
                self._trouble = str(error)
            await asyncio.sleep(pause_s)

    def block(self) -> int | None:
        """The newest settled block, which never goes back; none before the first reading."""
        return None if self._head is None else max(self._head - SAFE_BLOCKS, 0)

    def cycle(self) -> Cycle | None:
        """The cycle of that block."""
        block = self.block()
        return None if block is None else cycle_of(block, self.netuid, self.cycle_blocks)

    def cycle_number(self) -> int:
        """The present cycle's number; before the first reading what the clock makes it, or 0."""
        cycle = self.cycle()
        if cycle is not None:
            return cycle.number
        if self._head_before_start is None:
            return 0
        passed = int((monotonic_s() - self._moved_at_s) / self.block_s)
        return cycle_of(self._head_before_start + passed, self.netuid, self.cycle_blocks).number

    def at(self, number: int) -> Cycle:
        """The cycle of a number."""
        return cycle_number(number, self.netuid, self.cycle_blocks)

    async def block_hash(self, block: int) -> bytes:
        """The hash of a block; raises ``ChainFault``."""
        return await self.chain.block_hash(block)

    def snapshot(self, number: int) -> Snapshot | None:
        """The subnet at a cycle's first block, if this validator was there in time."""
        return self._snapshots.get(number)

    async def at_cycle(self, cycle: int) -> tuple[NeuronFact, ...] | None:
        """The neurons of a cycle's first block, for scoring."""
        known = self._snapshots.get(cycle)
        return known.neurons if known else None

    async def until_block(self, block: int) -> None:
        """Wait until a block is settled."""
        while (now := self.block()) is None or now < block:
            await self._changed.wait()

    def why_not_ready(self) -> str | None:
        """What is wrong with the chain, for readiness; nothing is begun while something is."""
        if self._trouble:
            return self._trouble
        still_s = monotonic_s() - self._moved_at_s
        if still_s > _STALL_BLOCKS * self.block_s:
            return f"the chain stands at block {self._head} for {still_s:.0f} s"
        return None

    async def _follow(self, told: int) -> None:
        known = self._head_before_start if self._head is None else self._head
        wrong = why_unbelievable(known, told, monotonic_s() - self._moved_at_s, self.block_s)
        if wrong is not None:
            if wrong != self._trouble:
                _log.error("the chain is not followed", why=wrong)
            self._trouble = wrong
            return
        self._trouble = ""
        if self._head is None or told > self._head:
            self._head, self._moved_at_s = told, monotonic_s()
            self._changed.set()
            self._changed = asyncio.Event()

    async def _take_snapshot(self) -> None:
        cycle, block = self.cycle(), self.block()
        if cycle is None or block is None or self._trouble or cycle.first_block < 0:
            return
        known = self._snapshots.get(cycle.number)
        if known is not None and block > cycle.first_block + _SLACK_BLOCKS:
            return
        first_hash = await self.chain.block_hash(cycle.first_block)
        if known is not None and known.block_hash == first_hash:
            return
        if known is not None:
            _log.warning("the chain was reorganised", cycle=cycle.number, block=cycle.first_block)
        if monotonic_s() >= self._retry_at_s:
            await self._read_first_block(cycle, first_hash)

    async def _read_first_block(self, cycle: Cycle, first_hash: bytes) -> None:
        """A node that no longer has the block's state is asked now and then, for a cycle without."""
        try:
            seed = await self.chain.block_hash(cycle.seed_block)
            metagraph = await self.chain.metagraph(cycle.first_block)
        except (ChainRefused, ChainUnfit) as error:
            self._retry_at_s = monotonic_s() + _RETRY_BLOCKS * self.block_s
            remedy = "start the validator before a cycle does, or use a node that keeps more blocks"
            _log.warning(
                "no metagraph", cycle=cycle.number, block=cycle.first_block, why=str(error), remedy=remedy
            )
            return
        neurons, taken_at_s = _facts_of(metagraph), int(now().timestamp())
        await self._keep(Snapshot(cycle.number, cycle.first_block, seed, neurons, first_hash, taken_at_s))

    async def _keep(self, snapshot: Snapshot) -> None:
        old = [number for number in self._snapshots if number <= snapshot.cycle - _KEEP_CYCLES]

        async def unit(connection: AsyncConnection) -> None:
            await facts.put(connection, f"{_PREFIX}{snapshot.cycle}", _text(snapshot))
            for number in old:
                await facts.remove(connection, f"{_PREFIX}{number}")

        await self.store.writer.run(unit)
        self._snapshots[snapshot.cycle] = snapshot
        for number in old:
            del self._snapshots[number]
        _log.info("cycle begins", cycle=snapshot.cycle, validators=len(snapshot.validators))


_PREFIX: Final = "validator.cycle."


def why_unbelievable(known: int | None, told: int, elapsed_s: float, block_s: float) -> str | None:
    """Why a head cannot be the chain's, after ``elapsed_s`` since the last new one; ``None`` when it can."""
    if told < 0:
        return f"the chain says its newest block is {told}"
    if known is None:
        return None
    if told < known - _SLACK_BLOCKS:
        return f"the chain went back from block {known} to {told}; is it another chain, or a node far behind?"
    most = known + _SLACK_BLOCKS + int(2 * elapsed_s / block_s)
    if told > most:
        return f"the chain jumped from block {known} to {told} in {elapsed_s:.0f} s; check the endpoint"
    return None


def _facts_of(metagraph: Metagraph) -> tuple[NeuronFact, ...]:
    return tuple(
        NeuronFact(
            uid=neuron.uid,
            hotkey=neuron.hotkey,
            coldkey=neuron.coldkey,
            stake_rao=neuron.stake_rao,
            permit=neuron.validator_permit,
        )
        for neuron in metagraph.neurons
    )


def _text(snapshot: Snapshot) -> str:
    rows = [asdict(fact) for fact in snapshot.neurons]
    value = {
        "cycle": snapshot.cycle,
        "block": snapshot.block,
        "seed": snapshot.seed.hex(),
        "block_hash": snapshot.block_hash.hex(),
        "taken_at_s": snapshot.taken_at_s,
        "neurons": rows,
    }
    return json.dumps(value)


def _read(text: str) -> Snapshot:
    value = json.loads(text)
    return Snapshot(
        cycle=value["cycle"],
        block=value["block"],
        seed=bytes.fromhex(value["seed"]),
        neurons=tuple(NeuronFact(**row) for row in value["neurons"]),
        block_hash=bytes.fromhex(value.get("block_hash", "")),
        taken_at_s=value.get("taken_at_s", 0),
    )
