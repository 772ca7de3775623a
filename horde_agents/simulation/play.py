"""Plays a strategy over many cycles: batches, scores, weights an epoch late, consensus, income."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np

from horde_agents.scoring.cycles import DEFAULT_LENGTH_BLOCKS as LENGTH_BLOCKS
from horde_agents.scoring.cycles import Cycle, seats
from horde_agents.simulation.acts import Act, honest_act, nothing_seen, observe
from horde_agents.simulation.scores import points_of, weights_u16
from horde_agents.simulation.strategies import HONEST, Strategy
from horde_agents.simulation.world import (
    COLDKEYS,
    MINERS,
    TOTAL_STAKE_TAO,
    VALIDATORS,
    Floats,
    Ints,
    Setting,
    World,
    placed,
    world,
)
from horde_agents.simulation.yuma import epoch

EPOCHS_PER_CYCLE: Final = 2
#: Of all emission 41 % go to miners and as much to validators: the same to each.
_HALVES: Final = 2
_RAO: Final = 1_000_000_000

OnCycle = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Income:
    """Income over a run, in parts of all that miners and validators got; ``outside`` is what was sold."""

    incentive: Floats
    dividends: Floats
    outside: Floats
    world: World

    @property
    def ours(self) -> float:
        """The coalition's."""
        mined = self.incentive[self.world.is_mine].sum() + self.outside[self.world.is_mine].sum()
        return float(mined + self.dividends[self.world.is_ours].sum())

    @property
    def our_miners(self) -> float:
        """The coalition's miners', with what they sold elsewhere."""
        return float((self.incentive + self.outside)[self.world.is_mine].sum())

    @property
    def our_validators(self) -> float:
        """The coalition's validators'."""
        return float(self.dividends[self.world.is_ours].sum())

    @property
    def by_coldkey(self) -> Floats:
        """Miners' incentives."""
        return np.asarray(self.incentive.reshape(COLDKEYS, -1).sum(axis=1))


def play(
    setting: Setting, strategy: Strategy = HONEST, cycles: int = 140, on_cycle: OnCycle | None = None
) -> Income:
    """What everyone earns if the coalition follows the strategy and all others are honest."""
    run = _Run(world(setting, strategy.splits), strategy, np.random.default_rng([setting.seed, 2]))
    for cycle in range(cycles):
        run.turn(cycle)
        if on_cycle:
            on_cycle(cycle)
    return run.income(cycles)


class _Run:
    """The state of one run."""

    def __init__(self, world_: World, strategy: Strategy, rng: np.random.Generator) -> None:
        self.world, self.strategy, self.rng = world_, strategy, rng
        self.seen = nothing_seen(world_)
        self.weights = np.zeros((VALIDATORS, MINERS))
        self.shown = np.zeros(MINERS)
        self.bonds = np.zeros((VALIDATORS, MINERS))
        self.incentive, self.outside = np.zeros(MINERS), np.zeros(MINERS)
        self.dividends = np.zeros(VALIDATORS)
        self.dances = ~world_.is_mine | strategy.dances

    def turn(self, cycle: int) -> None:
        """One cycle; its weights are revealed an epoch after it and hold until the next are."""
        act = honest_act(self.world, cycle, placed(self.world, cycle, self.dances))
        self.strategy.change(self.world, act)
        for _ in range(EPOCHS_PER_CYCLE):
            self._pay()
        self.seen = observe(self.world, act, self._seated(cycle), self.seen, self.rng)
        fresh = weights_u16(self._points(), self.world.classes, self.world.configuration)
        has_some = fresh.any(axis=1)
        self.weights[has_some] = fresh[has_some]
        self._sell(act)

    def income(self, cycles: int) -> Income:
        """All so far."""
        epochs = cycles * EPOCHS_PER_CYCLE * _HALVES
        return Income(self.incentive / epochs, self.dividends / epochs, self.outside / cycles, self.world)

    def _pay(self) -> None:
        if not self.weights.any():
            return
        weights = self.weights / np.maximum(self.weights.sum(axis=1, keepdims=True), 1e-300)
        if self.strategy.copies:
            weights[self.world.is_ours] = self.shown
        paid = epoch(weights, self.world.stakes, self.bonds)
        self.bonds = paid.bonds
        self.incentive += paid.incentive
        self.dividends += paid.dividends
        self.shown = paid.consensus

    def _points(self) -> Floats:
        world_ = self.world
        return points_of(self.seen.facts, world_.stakes, world_.coldkeys, world_.configuration)

    def _seated(self, cycle: int) -> Ints:
        rao = (self.world.stakes * TOTAL_STAKE_TAO * _RAO).astype(np.int64).tolist()
        stakes = {str(index): stake_rao for index, stake_rao in enumerate(rao) if stake_rao}
        first_block = cycle * LENGTH_BLOCKS
        block_hash = sha256(b"%d" % first_block).hexdigest()
        order = seats(stakes, block_hash, Cycle(cycle, first_block, LENGTH_BLOCKS))
        return np.array([int(seat.hotkey) for seat in order], dtype=np.int64)

    def _sell(self, act: Act) -> None:
        """Slot time sold elsewhere, at its price: a part of what the slot would earn here."""
        slots = placed(self.world, act.cycle, self.dances)
        fair = slots / self.world.executors.sum() / _HALVES
        self.outside += act.outside * fair * self.world.market.outside_price
