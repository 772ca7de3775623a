"""Puts together what works by cycles: the clock, batches, scoring, weights."""

from dataclasses import dataclass
from typing import Any, Final

from horde_agents.agents.validator.api.sources import BlockSpan
from horde_agents.agents.validator.cycle_clock import CycleClock
from horde_agents.agents.validator.cycle_ends import CycleEnds
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.polls import Polls
from horde_agents.agents.validator.scoring_round import Pace, ScoringRound
from horde_agents.agents.validator.synthetic.kinds import SyntheticKind, load_kind
from horde_agents.agents.validator.synthetic.measured import MeasuredCounts
from horde_agents.agents.validator.synthetic.retention import BatchRetention
from horde_agents.agents.validator.synthetic.service import Synthetic
from horde_agents.agents.validator.weights.setter import WeightSetter
from horde_agents.clients.chain import BittensorChain
from horde_agents.clients.chain_weights import BittensorWeights
from horde_agents.runtime.supervisor import Supervisor
from horde_agents.scoring.cycles import seats
from horde_agents.scoring.shares import configured_shares

_US_PER_S: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Cycles:
    """The loops of a validator that scores."""

    clock: CycleClock
    synthetic: Synthetic
    setter: WeightSetter
    ends: CycleEnds
    retention: BatchRetention

    def keep(self, supervisor: Supervisor) -> None:
        """Start them all."""
        supervisor.keep("cycle clock", self.clock.serve)
        supervisor.keep("weights", self.setter.serve)
        supervisor.keep("scoring", self.ends.serve)
        supervisor.keep("batch retention", self.retention.serve)
        if self.synthetic.kinds:
            supervisor.keep("synthetic batches", self.synthetic.serve)

    def sources(self) -> dict[str, Any]:
        """What the API tells of cycles; the instants of batches are not in it."""
        return {
            "block_number": self.clock.block,
            "cycle": self._cycle,
            "seat": lambda: self._seat(0),
            "next_seat": lambda: self._seat(1),
            "why_no_batch": self._why_no_batch,
        }

    def _why_no_batch(self) -> str:
        return self.synthetic.trouble if self.synthetic.kinds else "the setting synthetic_kinds names no kind"

    def _cycle(self) -> BlockSpan | None:
        cycle = self.clock.cycle()
        return BlockSpan(cycle.number, cycle.first_block, cycle.end_block - 1) if cycle else None

    def _seat(self, ahead: int) -> BlockSpan | None:
        """This validator's seat in the present cycle, or the one ``ahead`` of it once its seed is known."""
        number = self.clock.cycle_number() + ahead
        snapshot = self.clock.snapshot(number)
        if snapshot is None:
            return None
        found = seats(snapshot.validators, snapshot.seed.hex(), self.clock.at(number))
        own = next((seat for seat in found if seat.hotkey == self.synthetic.parts.signer.hotkey), None)
        return BlockSpan(number, own.first_block, own.end_block - 1) if own else None


async def build_cycles(parts: Parts, polls: Polls, chain: BittensorChain) -> Cycles:
    """The loops by the settings; none is at work yet.

    Raises:
        KindUnknown: a kind of synthetic job does not exist.
        SettingsWrong: a batch takes longer than a cycle.
    """
    settings = parts.settings
    clock = CycleClock(chain, parts.store, settings.netuid, settings.cycle_blocks, settings.block_s)
    await clock.load()
    parts.cycle_number = clock.cycle_number
    parts.progress_interval_s = lambda: parts.knobs().progress_interval_s
    synthetic = Synthetic(parts, clock, polls, parts.knobs, _kinds(parts), settings.block_s)
    synthetic.check()
    pace = Pace(settings.netuid, settings.cycle_blocks, round(settings.block_s * _US_PER_S))
    counts = MeasuredCounts(parts.store)
    scoring = ScoringRound(parts.store, parts.signer.hotkey, pace, clock, counts, configured_shares)
    setter = WeightSetter(
        BittensorWeights(chain),
        parts.store,
        settings.netuid,
        lambda: parts.knobs().commit_reveal,
        settings.weights_scheme,
        settings.weights_poll_s,
        waits=parts.metrics.weights_waiting.set,
    )
    retention = BatchRetention(
        parts.store,
        synthetic.kinds.values(),
        lambda: parts.knobs().excuse_proven_batches,
        settings.batch_retention_s,
        settings.synthetic_judge_s,
    )
    return Cycles(clock, synthetic, setter, CycleEnds(clock, scoring, parts.knobs, setter.put), retention)


def _kinds(parts: Parts) -> dict[str, SyntheticKind]:
    """One kind serves all the classes that name it."""
    made = {path: load_kind(path, parts) for path in sorted(set(parts.settings.synthetic_kinds.values()))}
    return {name: made[path] for name, path in sorted(parts.settings.synthetic_kinds.items())}
