"""From a cycle's inputs to weights, and how each came about. Pure: the same facts, the same bytes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from horde_agents.scoring.allowance import allowance
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.dancing import Dance, dance
from horde_agents.scoring.facts import Inputs, canonical, counts_of
from horde_agents.scoring.points import ClassWork, Points, gathered, points_of

#: What the largest weight is scaled to, as the chain keeps weights.
LARGEST: Final = 65_535
#: Binary digits to which a share is rounded down, so that exact numbers do not grow without end.
_SHARE_BITS: Final = 96
_UNIT: Final = 1 << _SHARE_BITS


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One miner in one class; ``share`` is its part of the class, times the class's part of everything."""

    points: Points
    allowance: Fraction
    work: ClassWork
    share: Fraction


@dataclass(slots=True)
class MinerScore:
    """One miner's way to its weight."""

    uid: int
    hotkey: str
    coldkey: str
    classes: dict[str, ClassScore] = field(default_factory=dict)
    dance: Dance | None = None
    bonus: Fraction = Fraction(1)
    share: Fraction = Fraction(0)
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """Weights of one cycle by UID, the largest ``LARGEST``; UIDs without weight are left out."""

    cycle: int
    miners: tuple[MinerScore, ...]
    weights: Mapping[int, int]
    burnt: Mapping[int, Fraction]

    def as_json(self) -> str:
        """The canonical text, explanation included."""
        return canonical(
            {
                "cycle": self.cycle,
                "weights": {str(uid): self.weights[uid] for uid in sorted(self.weights)},
                "burnt": {str(uid): str(self.burnt[uid]) for uid in sorted(self.burnt)},
                "miners": [_explained(miner) for miner in self.miners],
            }
        )


def score(inputs: Inputs) -> Result:
    """Weights for every miner that was registered at the cycle's first block and still is."""
    miners = _miners(inputs)
    _give_classes(inputs, miners)
    _give_bonuses(inputs, miners)
    total = sum((miner.share for miner in miners.values()), Fraction(0))
    for miner in miners.values():
        miner.share = _rounded(miner.share / total) if total else Fraction(0)
    burnt = _burnt(inputs)
    shares = _with_burn(miners.values(), burnt, Fraction(inputs.configuration.burn_rate))
    weights = upscaled(shares)
    for miner in miners.values():
        miner.weight = weights.get(miner.uid, 0)
    ordered = tuple(sorted(miners.values(), key=lambda miner: miner.uid))
    return Result(inputs.cycle, ordered, weights, burnt)


def upscaled(shares: Mapping[int, Fraction]) -> dict[int, int]:
    """Whole weights in proportion, the largest ``LARGEST``; what rounds to nothing is left out."""
    largest = max(shares.values(), default=Fraction(0))
    if largest <= 0:
        return {}
    scaled = {uid: round(shares[uid] * LARGEST / largest) for uid in sorted(shares)}
    return {uid: weight for uid, weight in scaled.items() if weight > 0}


def _miners(inputs: Inputs) -> dict[str, MinerScore]:
    """By hotkey; a UID that has gone to another hotkey since takes nothing of the old one's work."""
    return {
        neuron.hotkey: MinerScore(neuron.uid, neuron.hotkey, neuron.coldkey)
        for neuron in inputs.neurons
        if inputs.registered.get(neuron.uid) == neuron.hotkey
    }


def _give_classes(inputs: Inputs, miners: Mapping[str, MinerScore]) -> None:
    configuration, counts = inputs.configuration, counts_of(inputs.now)
    earned = {
        (hotkey, name): _earned(inputs, counts.get(hotkey, {}).get(name, 0), name, work)
        for (hotkey, name), work in gathered(inputs.tallies).items()
        if hotkey in miners and configuration.class_weights.get(name, 0) > 0
    }
    totals: dict[str, Fraction] = {}
    for (_, name), (points, _, _) in earned.items():
        totals[name] = totals.get(name, Fraction(0)) + points.total
    parts = _parts(totals, configuration)
    for (hotkey, name), (points, allowed, work) in sorted(earned.items(), key=lambda item: item[0]):
        share = _rounded(points.total / totals[name] * parts[name]) if totals[name] else Fraction(0)
        miners[hotkey].classes[name] = ClassScore(points, allowed, work, share)


def _earned(
    inputs: Inputs, measured: int, executor_class: str, work: ClassWork
) -> tuple[Points, Fraction, ClassWork]:
    configuration = inputs.configuration
    s_per_point = configuration.organic_s_per_point
    executors = min(measured, configuration.max_executors_per_class.get(executor_class, measured))
    allowed = allowance(Fraction(inputs.own_share), executors, inputs.cycle_s, s_per_point)
    return points_of(work, allowed, s_per_point), allowed, work


def _parts(totals: Mapping[str, Fraction], configuration: Configuration) -> dict[str, Fraction]:
    """Each class's part of everything; the weight of one without points goes to the others."""
    weights = {name: configuration.class_weights[name] for name, total in totals.items() if total > 0}
    everything = sum(weights.values())
    return {name: Fraction(weight, everything) for name, weight in weights.items()}


def _give_bonuses(inputs: Inputs, miners: Mapping[str, MinerScore]) -> None:
    now, before = counts_of(inputs.now), counts_of(inputs.before)
    measured_before = frozenset(inputs.measured_before)
    configuration = inputs.configuration
    for uids in _by_coldkey(miners.values()):
        done = dance(uids, now, before, measured_before, Fraction(configuration.dancing_share))
        for uid in uids:
            miner = miners[uid]
            miner.dance = done
            miner.bonus = Fraction(1) if done.why_not else Fraction(configuration.dancing_bonus)
            miner.share = sum((part.share for part in miner.classes.values()), Fraction(0)) * miner.bonus


def _by_coldkey(miners: Iterable[MinerScore]) -> list[list[str]]:
    owned: dict[str, list[str]] = {}
    for miner in miners:
        owned.setdefault(miner.coldkey, []).append(miner.hotkey)
    return [sorted(owned[coldkey]) for coldkey in sorted(owned)]


def _burnt(inputs: Inputs) -> dict[int, Fraction]:
    """The burn's part by UID: in equal parts to those of the named hotkeys that are registered."""
    rate = Fraction(inputs.configuration.burn_rate)
    targets = [
        uid for uid, hotkey in inputs.registered.items() if hotkey in inputs.configuration.burn_hotkeys
    ]
    return {uid: rate / len(targets) for uid in sorted(targets)} if rate else {}


def _with_burn(
    miners: Iterable[MinerScore], burnt: Mapping[int, Fraction], rate: Fraction
) -> dict[int, Fraction]:
    left = 1 - rate if burnt else Fraction(1)
    shares = {miner.uid: miner.share * left for miner in miners}
    for uid, part in burnt.items():
        shares[uid] = shares.get(uid, Fraction(0)) + part
    return shares


def _rounded(share: Fraction) -> Fraction:
    return Fraction(int(share * _UNIT), _UNIT)


def _explained(miner: MinerScore) -> dict[str, Any]:
    done = miner.dance
    return {
        "uid": miner.uid,
        "hotkey": miner.hotkey,
        "coldkey": miner.coldkey,
        "classes": {name: _explained_class(miner.classes[name]) for name in sorted(miner.classes)},
        "dance": {"moved": done.moved, "held": done.held, "why_not": done.why_not} if done else None,
        "bonus": str(miner.bonus),
        "share": str(miner.share),
        "weight": miner.weight,
    }


def _explained_class(part: ClassScore) -> dict[str, Any]:
    return {
        "synthetic": str(part.points.synthetic),
        "excused": str(part.points.excused),
        "organic": str(part.points.organic),
        "organic_uncapped": str(part.points.organic_uncapped),
        "allowance": str(part.allowance),
        "failed": part.work.failed,
        "users": len(part.work.users_us),
        "share": str(part.share),
    }
