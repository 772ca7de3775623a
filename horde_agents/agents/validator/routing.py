"""Which miners may get a job, of which class, in which order, or why none may. Pure, and linear in miners."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from statistics import median_low
from typing import Final, TypeAlias

from horde_agents.jobs.classes import CATALOGUE
from horde_agents.protocol.signing import Hotkey

#: Prices are in millionths of what a second of an executor of a class with weight 1 costs.
MICRO: Final = 1_000_000
#: A price moves a miner's chance by this factor at most, either way: nobody is starved by a price.
_MOST_PRICE_FACTOR: Final = 2.0
#: What is left of any miner's chance, however the factors multiply.
_LEAST_FACTOR: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Miner:
    """A miner and where it listens; ``host`` is an address or a name."""

    hotkey: Hotkey
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A miner, and the executor class of which the job is offered to it."""

    miner: Miner
    executor_class: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the validator knows at this moment.

    ``manifests``: executors by class, by miner; a miner that is missing has not answered.
    ``busy``: executors that receipts show occupied, by miner, by class.
    ``barred``: miners that get no jobs now, with the reason.
    ``tried``: miners that had an attempt of this job.
    ``price_micro``: announced prices by class, by miner; ``favour``: factors of a miner's chance, such as its
    reliability.
    """

    manifests: Mapping[str, Mapping[str, int]]
    busy: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    barred: Mapping[str, str] = field(default_factory=dict)
    tried: frozenset[str] = frozenset()
    price_micro: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    favour: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoMiner:
    """Nobody is left; ``why`` has a line for each miner, ``says`` a reason that is no miner's.

    ``free_at`` is when the first executor of a wanted class is free by the receipts, if one is busy.
    """

    why: dict[str, str]
    says: str = ""
    free_at: datetime | None = None

    @property
    def sentence(self) -> str:
        """The reason in one line."""
        if self.says:
            return self.says
        if not self.why:
            return "No miner is known: the metagraph lists none with an axon."
        return f"None of {len(self.why)} known miners can take the job."


#: A miner that could have the job: its free executors of the class, and what a second of one costs.
_Able: TypeAlias = tuple[Miner, int, int]


def route(
    miners: Sequence[Miner], classes: Sequence[str], facts: Facts, rng: Random
) -> tuple[Choice, ...] | NoMiner:
    """Whom to try, in order: the cheapest class first, and within it a shuffle weighted by free executors.

    Reliability, price and stake-fair sharing change a miner's weight and never make it nothing, so that no
    miner that may have the job starves.
    """
    why: dict[str, str] = {}
    suitable: dict[str, list[_Able]] = {name: [] for name in classes}
    usual_micro = {name: default_price_micro(name) for name in classes}
    busy = {name: facts.busy.get(name, {}) for name in classes}
    for miner in miners:
        reason = _why_closed(miner.hotkey, facts)
        if reason is not None:
            why[miner.hotkey] = reason
            continue
        manifest, has_any = facts.manifests[miner.hotkey], False
        announced = facts.price_micro.get(miner.hotkey, {})
        for name, found in suitable.items():
            if (free := manifest.get(name, 0) - busy[name].get(miner.hotkey, 0)) > 0:
                found.append((miner, free, announced.get(name) or usual_micro[name]))
                has_any = True
        if not has_any:
            why[miner.hotkey] = _why_none_free(manifest, classes)
    order = tuple(_ordered(suitable, facts, rng))
    return order or NoMiner(why)


def free_executors(miners: Sequence[Miner], executor_class: str, facts: Facts) -> int:
    """Executors of the class that are free for some job, at all miners that are not barred."""
    busy = facts.busy.get(executor_class, {})
    return sum(
        max(facts.manifests.get(miner.hotkey, {}).get(executor_class, 0) - busy.get(miner.hotkey, 0), 0)
        for miner in miners
        if miner.hotkey not in facts.barred
    )


def default_price_micro(executor_class: str) -> int:
    """What an executor of the class costs where its miner announces no price: the class's weight."""
    known = CATALOGUE.get(executor_class)
    return max(known.weight if known else 1, 1) * MICRO


def _ordered(suitable: Mapping[str, Sequence[_Able]], facts: Facts, rng: Random) -> Iterator[Choice]:
    """The classes by the median of their miners' prices, which no single liar moves far."""
    median_micro = {
        name: median_low([price_micro for _, _, price_micro in able])
        for name, able in suitable.items()
        if able
    }
    for name in sorted(median_micro, key=lambda name: median_micro[name]):  # stable: else the user's order
        yield from (Choice(miner, name) for miner in _drawn(suitable[name], median_micro[name], facts, rng))


def _drawn(able: Sequence[_Able], median_micro: int, facts: Facts, rng: Random) -> list[Miner]:
    """The miners in a drawn order: each one first with a chance in proportion to its weight."""
    keyed = []
    for place, (miner, free, price_micro) in enumerate(able):
        cheapness = min(max(median_micro / price_micro, 1 / _MOST_PRICE_FACTOR), _MOST_PRICE_FACTOR)
        weight = free * max(cheapness * facts.favour.get(miner.hotkey, 1.0), _LEAST_FACTOR)
        # the least of exponential variables is each one with a chance in proportion to its rate
        keyed.append((-math.log(1.0 - rng.random()) / weight, place))
    return [able[place][0] for _, place in sorted(keyed)]


def _why_closed(hotkey: str, facts: Facts) -> str | None:
    if hotkey in facts.tried:
        return "has had an attempt of this job"
    if hotkey in facts.barred:
        return f"gets no jobs now: {facts.barred[hotkey]}"
    if hotkey not in facts.manifests:
        return "has not told what it offers"
    return None


def _why_none_free(manifest: Mapping[str, int], classes: Sequence[str]) -> str:
    if any(manifest.get(name, 0) > 0 for name in classes):
        return "is busy with jobs of ours"
    return f"offers no {' or '.join(classes)}"
