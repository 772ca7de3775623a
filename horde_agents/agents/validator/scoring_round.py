"""Scores a cycle that is over: gathers its facts, stores them with what comes out, once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.cycle_clock import CycleClock, Snapshot
from horde_agents.clients.chain import ChainClient
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import Inputs, Measured, read_inputs
from horde_agents.scoring.weights import Result, score
from horde_agents.store import batches, cycle_scores, verdicts
from horde_agents.store.cycle_scores import CycleScore
from horde_agents.store.engine import Store

_log = get_logger(__name__)

#: Fair shares by hotkey, from stakes by hotkey.
Shares = Callable[[Mapping[str, int], Configuration], Mapping[str, Fraction]]


@dataclass(slots=True)
class ScoringRound:
    """Everything that scoring needs, in one place."""

    store: Store
    clock: CycleClock
    chain: ChainClient
    validator_hotkey: str
    configuration: Callable[[], Configuration]
    shares: Shares
    block_s: float

    async def score(self, cycle: int) -> Result | None:
        """The weights of a cycle; ``None`` when this validator did not see it begin.

        A cycle is scored once: later calls compute from what was stored then.

        Raises:
            ChainFault: who is registered now could not be asked.
        """
        snapshot = self.clock.snapshot(cycle)
        if snapshot is None:
            _log.warning("a cycle cannot be scored: its metagraph was not seen", cycle=cycle)
            return None
        async with self.store.reading() as connection:
            known = await cycle_scores.load(connection, cycle)
        if known is not None:
            return score(_read(known))
        registered = {neuron.uid: str(neuron.hotkey) for neuron in (await self.chain.metagraph()).neurons}

        async def unit(connection: AsyncConnection) -> CycleScore:
            inputs = await self._inputs(connection, snapshot, registered)
            result = score(inputs)
            stored = CycleScore(cycle, inputs.as_json(), result.as_json(), now())
            return await cycle_scores.put(connection, stored)

        return score(_read(await self.store.writer.run(unit)))

    async def _inputs(
        self, connection: AsyncConnection, snapshot: Snapshot, registered: dict[int, str]
    ) -> Inputs:
        configuration = self.configuration()
        cycle = self.clock.at(snapshot.cycle)
        before = await batches.measured(connection, snapshot.cycle - 1)
        shares = self.shares(snapshot.validators, configuration)
        return Inputs(
            netuid=self.clock.netuid,
            cycle=cycle.number,
            cycle_blocks=cycle.length_blocks,
            cycle_s=round(cycle.length_blocks * self.block_s),
            validator_hotkey=self.validator_hotkey,
            own_share=str(shares.get(self.validator_hotkey, Fraction(0))),
            configuration=configuration,
            neurons=snapshot.neurons,
            registered=registered,
            tallies=tuple(await verdicts.tallies(connection, cycle.number)),
            now=_facts(await batches.measured(connection, cycle.number)),
            before=_facts(before),
            measured_before=tuple(sorted(before)),
        )


def _facts(counts: Mapping[str, Mapping[str, int]]) -> tuple[Measured, ...]:
    return tuple(
        Measured(miner_hotkey=miner, executor_class=name, executors=count)
        for miner in sorted(counts)
        for name, count in sorted(counts[miner].items())
    )


def _read(stored: CycleScore) -> Inputs:
    return read_inputs(stored.inputs_json)
