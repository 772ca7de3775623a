"""Scores a cycle once: gathers its facts, decides, and stores both before anything goes to the chain."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.runtime import clock
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import BatchCount, MinerWork, NeuronFact
from horde_agents.scoring.inputs import Inputs, point_us
from horde_agents.scoring.result import Result
from horde_agents.scoring.tally import Tally
from horde_agents.scoring.weights import score
from horde_agents.store import cycle_scores, verdicts
from horde_agents.store.cycle_scores import CycleScore
from horde_agents.store.engine import Store
from horde_agents.store.verdicts import LogEnd

#: Fair share of capacity by hotkey, from the stakes of all that hold a permit.
Shares: TypeAlias = Callable[[Mapping[str, int], Configuration], Mapping[str, Fraction]]

#: Cycles that the chain may have been away when one is scored.
_LOOK_AHEAD_CYCLES: Final = 8

_log = get_logger(__name__)


class Snapshots(Protocol):
    """The metagraph as it was when a cycle started, kept since; ``cycle_clock`` has it."""

    async def at_cycle(self, cycle: int) -> tuple[NeuronFact, ...] | None:
        """The neurons, or ``None`` if the cycle has not started or nobody looked when it did."""


class Measurements(Protocol):
    """What this validator's batches measured."""

    async def counts(self, cycle: int) -> tuple[BatchCount, ...]:
        """Executors by batch, miner and class; nothing if no batch fired in the cycle."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Where and how fast cycles go by."""

    netuid: int
    length_blocks: int
    block_us: int


@dataclass(frozen=True, slots=True)
class ScoringRound:
    """Scores cycles for one validator."""

    store: Store
    hotkey: str
    pace: Pace
    snapshots: Snapshots
    measurements: Measurements
    shares: Shares

    async def score(self, cycle: int, configuration: Configuration) -> Result | None:
        """The result for a cycle that is over; the stored one if it has been scored before.

        ``None`` without a metagraph of its end or soon after: what a miner that left did must not be paid.

        Raises:
            InputsWrong: the metagraph has two rows for one UID or hotkey.
            UnknownOutcome: a newer version has written the log.
        """
        async with self.store.reading() as connection:
            known = await cycle_scores.get(connection, cycle)
        if known is not None:
            return Result.from_json(known.result_json)
        inputs = await self._gather(cycle, configuration)
        if inputs is None:
            _log.warning("cycle is not scored: no metagraph since its end", cycle=cycle)
            return None
        made = await asyncio.to_thread(_scored, inputs)
        kept = await self.store.writer.run(lambda connection: cycle_scores.put(connection, made))
        result = Result.from_json(kept.result_json)
        _log.info("cycle scored", cycle=cycle, miners=len(result.miners), uids=len(result.uids))
        return result

    async def _gather(self, cycle: int, configuration: Configuration) -> Inputs | None:
        neurons = await self._neurons_since(cycle + 1)
        if neurons is None:
            return None
        at_start = await self.snapshots.at_cycle(cycle)
        async with self.store.reading() as connection:
            end = await verdicts.end_of_cycle(connection, cycle)
            work = await work_of(connection, cycle, end, point_us(configuration))
        return Inputs(
            netuid=self.pace.netuid,
            cycle=cycle,
            length_blocks=self.pace.length_blocks,
            block_us=self.pace.block_us,
            validator_hotkey=self.hotkey,
            share=self._share(at_start or neurons, configuration),
            configuration=configuration,
            neurons=neurons,
            work=work,
            counts=await self.measurements.counts(cycle),
            previous_counts=await self.measurements.counts(cycle - 1),
            verdicts_sha256=end.chain_sha256,
        )

    async def _neurons_since(self, cycle: int) -> tuple[NeuronFact, ...] | None:
        """The first metagraph since then: while the chain was away nobody could look."""
        for number in range(cycle, cycle + _LOOK_AHEAD_CYCLES):
            neurons = await self.snapshots.at_cycle(number)
            if neurons is not None:
                return neurons
        return None

    def _share(self, neurons: tuple[NeuronFact, ...], configuration: Configuration) -> str:
        stakes_rao = {neuron.hotkey: neuron.stake_rao for neuron in neurons if neuron.permit}
        share = self.shares(stakes_rao, configuration).get(self.hotkey, Fraction(0))
        return f"{share.numerator}/{share.denominator}"


async def work_of(
    connection: AsyncConnection, cycle: int, end: LogEnd, organic_point_us: int
) -> tuple[MinerWork, ...]:
    """The verdicts of a cycle up to ``end``, summed up as they are read.

    Raises:
        UnknownOutcome: a newer version has written the log.
    """
    tally = Tally(organic_point_us)
    async for rows in verdicts.of_cycle(connection, cycle, end):
        tally.add(rows)
    return tally.result()


def _scored(inputs: Inputs) -> CycleScore:
    """In a thread of its own, since a cycle with many users takes a while."""
    return CycleScore(inputs.cycle, inputs.to_json(), score(inputs).to_json(), clock.now())
