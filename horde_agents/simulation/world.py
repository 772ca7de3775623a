"""The simulated subnet: who there is, with what stake and hardware, and how noisy it all is.

Every number that the results hang on is here and in docs/economics.md.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from horde_agents.jobs.classes import CATALOGUE
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.cycles import DEFAULT_LENGTH_BLOCKS

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

VALIDATORS: Final = 64
MINERS: Final = 192
UIDS_PER_COLDKEY: Final = 3
COLDKEYS: Final = MINERS // UIDS_PER_COLDKEY
#: Coldkeys, and validators, that belong to the coalition: every eighth and every fourth.
_EVERY_COLDKEY: Final = 8
_EVERY_VALIDATOR: Final = 4
#: Validators that hold the coalition's stake unless it is split.
_UNSPLIT: Final = 4
#: Executors of the three UIDs of a dancing coldkey: which UID has which part turns each cycle. It moves half
#: of them: who moves hardly more than the bonus asks for loses it now and then to noise.
PLACEMENT: Final = (0.6, 0.3, 0.1)
CLASSES: Final = tuple(sorted(CATALOGUE))[:3]
BLOCK_US: Final = 12_000_000
CYCLE_US: Final = DEFAULT_LENGTH_BLOCKS * BLOCK_US
TOTAL_STAKE_TAO: Final = 6_000_000
#: From half of the stake on consensus is the coalition's, and nothing holds.
MOST_COALITION: Final = 0.5


@dataclass(frozen=True, slots=True)
class Noise:
    """What goes wrong without anybody's ill will, as probabilities."""

    executor_fails: float = 0.01
    batch_not_run: float = 0.02
    late_by_jitter: float = 0.005
    validator_gap: float = 0.02
    excuse_lost: float = 0.02
    organic_spread: float = 0.10

    @property
    def passes(self) -> float:
        """The probability that an idle executor passes its job of a batch."""
        return (1 - self.executor_fails) * (1 - self.batch_not_run) * (1 - self.late_by_jitter)


SILENCE: Final = Noise(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Market:
    """What the strategies are weighed with.

    ``busy`` is the part of slot time that organic jobs take, ``proof_detects`` the probability that a batch
    sees through a card that is not there or is weaker, ``outside_price`` what a slot earns elsewhere, as a
    part of what it earns here.
    """

    busy: float = 0.4
    proof_detects: float = 0.9
    outside_price: float = 0.5


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules against single cheats: the first is the product's, the others are proposed and not in it yet.

    ``proven_batches``: an excuse never brings a coldkey above what it had at one instant, passed or running
    an own job, in so many of the validator's last batches; 0: no such bound. ``pays_compared_time``: a job
    is paid for no longer than it takes elsewhere, as jobs that are run twice show. ``presence_counts``:
    points of a batch count by the part of unannounced challenges that passed.
    """

    proven_batches: int = 12
    pays_compared_time: bool = False
    presence_counts: bool = False


#: All that docs/economics.md proposes.
PROPOSED: Final = Rules(proven_batches=12, pays_compared_time=True, presence_counts=True)


@dataclass(frozen=True, slots=True)
class World:
    """Everyone, fixed for a run. Arrays go by validator, or by miner (one UID, of one class, each)."""

    stakes: Floats
    is_ours: Flags
    is_mine: Flags
    coldkeys: Ints
    classes: Ints
    executors: Ints
    noise: Noise
    market: Market
    rules: Rules
    configuration: Configuration = field(default_factory=Configuration)

    @property
    def class_weights(self) -> Floats:
        """The configured weight of each simulated class."""
        return np.array([self.configuration.class_weights[name] for name in CLASSES], dtype=np.float64)

    @property
    def signers(self) -> Flags:
        """Validators whose receipts excuse."""
        return self.stakes * TOTAL_STAKE_TAO >= self.configuration.excuse_minimum_stake_tao


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run is made from, besides the strategy."""

    seed: int = 12
    coalition: float = 0.3
    noise: Noise = Noise()
    market: Market = Market()
    rules: Rules = Rules()


def world(setting: Setting, is_split: bool = False) -> World:
    """A subnet in which the coalition has the setting's part of the stake.

    Raises:
        ValueError: the coalition has half of the stake or more, where Yuma promises nothing.
    """
    if not 0 <= setting.coalition < MOST_COALITION:
        raise ValueError(f"the coalition is {setting.coalition}; it must be at least 0 and below 0.5")
    rng = np.random.default_rng([setting.seed, 1])
    is_ours = np.arange(VALIDATORS) % _EVERY_VALIDATOR == 1
    return World(
        stakes=_stakes(rng, is_ours, setting.coalition, is_split),
        is_ours=is_ours,
        is_mine=np.repeat(np.arange(COLDKEYS) % _EVERY_COLDKEY == 1, UIDS_PER_COLDKEY),
        coldkeys=np.repeat(np.arange(COLDKEYS), UIDS_PER_COLDKEY),
        classes=np.repeat(np.arange(COLDKEYS) % len(CLASSES), UIDS_PER_COLDKEY),
        executors=rng.integers(20, 81, COLDKEYS),
        noise=setting.noise,
        market=setting.market,
        rules=setting.rules,
    )


def placed(world_: World, cycle: int, dances: Flags) -> Ints:
    """Executors at each UID; who does not dance keeps the placement of cycle 0."""
    turn = np.where(dances, cycle, 0)
    position = (np.arange(MINERS) + turn) % UIDS_PER_COLDKEY
    whole = world_.executors[world_.coldkeys]
    parts = np.floor(whole * np.array(PLACEMENT)[position]).astype(np.int64)
    left = whole - parts.reshape(COLDKEYS, UIDS_PER_COLDKEY).sum(axis=1)[world_.coldkeys]
    return np.asarray(parts + np.where(position == 0, left, 0))


def _stakes(rng: np.random.Generator, is_ours: Flags, coalition: float, is_split: bool) -> Floats:
    """Shares of all stake: a few have much, as on the chain; a coalition's is at four, or split."""
    stakes = 1.0 / (rng.permutation(VALIDATORS) + 1)
    stakes[is_ours] = 1.0 if is_split else 0.0
    stakes[np.flatnonzero(is_ours)[:_UNSPLIT]] = 1.0
    for mask, share in ((is_ours, coalition), (~is_ours, 1 - coalition)):
        stakes[mask] *= share / stakes[mask].sum()
    return np.asarray(stakes)
