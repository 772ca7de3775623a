"""From a cycle's inputs to weights: compared inside each class, by class weight, burnt part, u16. Pure.

The same inputs give the same bytes, whatever the order they are given in: all numbers are integers and
fractions, and everything is sorted first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Final

from horde_agents.scoring.dancing import Movement, movements
from horde_agents.scoring.facts import MinerWork, NeuronFact
from horde_agents.scoring.inputs import Inputs
from horde_agents.scoring.points import Points, points_of
from horde_agents.scoring.result import ClassScore, MinerScore, Result

MAX_WEIGHT: Final = 65535
_PPB: Final = 1_000_000_000
_NOTHING: Final = Fraction(0)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A miner's work in a class with its points; ``dropped`` says why they do not count."""

    work: MinerWork
    neuron: NeuronFact | None
    points: Points
    bonus: Fraction
    bonus_why: str
    dropped: str

    @property
    def counted(self) -> Fraction:
        """The points that are compared with others'."""
        return _NOTHING if self.dropped else self.points.total * self.bonus


def score(inputs: Inputs) -> Result:
    """The weights of a cycle.

    Raises:
        InputsWrong: two facts about one thing.
    """
    inputs = inputs.in_order()
    entries = _entries(inputs)
    class_points = _class_points(entries)
    class_weights = _class_weights(inputs, class_points)
    shares = _shares(entries, class_points, class_weights)
    burnt = _burnt(inputs)
    final = _final(shares, burnt)
    by_uid = {neuron.uid: final.get(neuron.hotkey, _NOTHING) for neuron in inputs.neurons}
    weights = upscaled(by_uid)
    miners = _Miners(class_points, class_weights, burnt, sum(burnt.values(), _NOTHING), weights)
    return Result(
        cycle=inputs.cycle,
        netuid=inputs.netuid,
        uids=tuple(weights),
        weights=tuple(weights.values()),
        miners=miners.explained(entries, inputs.neurons),
        burn_rate=str(sum(burnt.values(), _NOTHING)),
        inputs_sha256=sha256(inputs.to_json().encode()).hexdigest(),
    )


def upscaled(shares: Mapping[int, Fraction]) -> Mapping[int, int]:
    """u16 weights by UID, ascending: the largest share is 65535, the others in proportion, halves up.

    A share above 0 gets 1 at least; one of 0 is left out.
    """
    largest = max(shares.values(), default=_NOTHING)
    if not largest:
        return {}
    return {
        uid: max(1, _rounded(share * MAX_WEIGHT / largest)) for uid, share in sorted(shares.items()) if share
    }


def _entries(inputs: Inputs) -> Sequence[_Entry]:
    neurons = {neuron.hotkey: neuron for neuron in inputs.neurons}
    danced = movements(inputs)
    return [_entry(work, neurons.get(work.miner_hotkey), danced, inputs) for work in inputs.work]


def _entry(
    work: MinerWork, neuron: NeuronFact | None, danced: Mapping[tuple[str, str], Movement], inputs: Inputs
) -> _Entry:
    movement = danced.get((neuron.coldkey, work.executor_class)) if neuron else None
    why = movement.why_not if movement else "nothing was measured"
    bonus = Fraction(inputs.configuration.dancing_bonus) if movement and movement.danced else Fraction(1)
    if movement and movement.danced:
        why = f"{movement.moved} of {movement.slots} executors moved"
    return _Entry(work, neuron, points_of(work, inputs), bonus, why, _why_dropped(work, neuron, inputs))


def _why_dropped(work: MinerWork, neuron: NeuronFact | None, inputs: Inputs) -> str:
    if neuron is None:
        return "its hotkey is not registered any more"
    if neuron.hotkey == inputs.validator_hotkey:
        return "a validator's verdicts on itself prove nothing"
    return ""


def _class_points(entries: Iterable[_Entry]) -> Mapping[str, Fraction]:
    found: dict[str, Fraction] = {}
    for entry in entries:
        name = entry.work.executor_class
        found[name] = found.get(name, _NOTHING) + entry.counted
    return found


def _class_weights(inputs: Inputs, class_points: Mapping[str, Fraction]) -> Mapping[str, Fraction]:
    """Each class's part of the whole; the part of those in which nobody scored is spread over the others."""
    weights = inputs.configuration.class_weights
    scored = {name: weights.get(name, 0) for name, points in class_points.items() if points}
    total = sum(scored.values())
    return {name: Fraction(weight, total) for name, weight in scored.items()} if total else {}


def _share(entry: _Entry, points: Mapping[str, Fraction], weights: Mapping[str, Fraction]) -> Fraction:
    name = entry.work.executor_class
    weight = weights.get(name, _NOTHING)
    return weight * entry.counted / points[name] if weight else _NOTHING


def _shares(
    entries: Iterable[_Entry], points: Mapping[str, Fraction], weights: Mapping[str, Fraction]
) -> Mapping[str, Fraction]:
    found: dict[str, Fraction] = {}
    for entry in entries:
        hotkey = entry.work.miner_hotkey
        found[hotkey] = found.get(hotkey, _NOTHING) + _share(entry, points, weights)
    return found


def _burnt(inputs: Inputs) -> Mapping[str, Fraction]:
    """What the registered burn hotkeys get, in equal parts; nothing burns while none is registered."""
    registered = {neuron.hotkey for neuron in inputs.neurons}
    targets = sorted(set(inputs.configuration.burn_hotkeys) & registered)
    rate = Fraction(inputs.configuration.burn_rate)
    return {hotkey: rate / len(targets) for hotkey in targets} if rate else {}


def _final(shares: Mapping[str, Fraction], burnt: Mapping[str, Fraction]) -> Mapping[str, Fraction]:
    kept = 1 - sum(burnt.values(), _NOTHING)
    final = {hotkey: share * kept for hotkey, share in shares.items()}
    for hotkey, share in burnt.items():
        final[hotkey] = final.get(hotkey, _NOTHING) + share
    return final


@dataclass(frozen=True, slots=True)
class _Miners:
    """Explains each miner; all numbers are already decided."""

    class_points: Mapping[str, Fraction]
    class_weights: Mapping[str, Fraction]
    burnt: Mapping[str, Fraction]
    burn_rate: Fraction
    weights: Mapping[int, int]

    def explained(self, entries: Iterable[_Entry], neurons: Iterable[NeuronFact]) -> tuple[MinerScore, ...]:
        """Everyone who worked or burns, in the order of hotkeys."""
        by_hotkey: dict[str, list[_Entry]] = {hotkey: [] for hotkey in self.burnt}
        for entry in entries:
            by_hotkey.setdefault(entry.work.miner_hotkey, []).append(entry)
        known = {neuron.hotkey: neuron for neuron in neurons}
        return tuple(
            self._miner(hotkey, known.get(hotkey), by_hotkey[hotkey]) for hotkey in sorted(by_hotkey)
        )

    def _miner(self, hotkey: str, neuron: NeuronFact | None, entries: Sequence[_Entry]) -> MinerScore:
        kept = 1 - self.burn_rate
        share = sum((self._share(entry) for entry in entries), _NOTHING) * kept
        return MinerScore(
            hotkey=hotkey,
            coldkey=neuron.coldkey if neuron else "",
            uid=neuron.uid if neuron else None,
            classes=tuple(self._class_score(entry, kept) for entry in entries),
            share_ppb=_rounded(share * _PPB),
            burn_ppb=_rounded(self.burnt.get(hotkey, _NOTHING) * _PPB),
            weight=self.weights.get(neuron.uid, 0) if neuron else 0,
            dropped=entries[0].dropped if entries else "",
        )

    def _class_score(self, entry: _Entry, kept: Fraction) -> ClassScore:
        name, points = entry.work.executor_class, entry.points
        return ClassScore(
            executor_class=name,
            synthetic_passed=points.passed,
            synthetic_excused=points.excused,
            above_executor_limit=points.limited,
            outcomes=_outcomes(entry.work),
            organic_users=points.users,
            organic_users_topped_up=points.topped_up,
            organic_points=str(points.organic),
            slots=points.slots,
            allowance_points=str(points.allowance),
            allowance_bit=points.organic > points.allowance,
            bonus=str(entry.bonus),
            bonus_why=entry.bonus_why,
            points=str(points.total * entry.bonus),
            class_points=str(self.class_points[name]),
            class_weight=str(self.class_weights.get(name, _NOTHING)),
            share_ppb=_rounded(self._share(entry) * kept * _PPB),
        )

    def _share(self, entry: _Entry) -> Fraction:
        return _share(entry, self.class_points, self.class_weights)


def _outcomes(work: MinerWork) -> dict[str, int]:
    """How many jobs came to what, ``synthetic passed`` and the like."""
    found: dict[str, int] = {}
    for kind, rows in (("synthetic", work.batches), ("organic", (work.organic,))):
        for row in rows:
            for outcome, many in row.outcomes.items():
                found[f"{kind} {outcome.value}"] = found.get(f"{kind} {outcome.value}", 0) + many
    return found


def _rounded(value: Fraction) -> int:
    """To the nearest integer, halves up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)
