"""The bonus for coldkeys whose executors moved between their UIDs since the last cycle.

Only what this validator measured at one instant in each of both cycles counts. Executors that appear or
vanish have not moved; a coldkey with a UID that was not measured before, and a validator that missed a
cycle, show no movement.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from horde_agents.scoring.allowance import Measured, hotkeys_in, measured
from horde_agents.scoring.facts import NeuronFact
from horde_agents.scoring.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Movement:
    """What a coldkey's executors of one class did; ``why_not`` is empty when they danced."""

    moved: int
    slots: int
    why_not: str

    @property
    def danced(self) -> bool:
        """Whether it earns the bonus."""
        return not self.why_not


def movements(inputs: Inputs) -> Mapping[tuple[str, str], Movement]:
    """Movement by (coldkey, class), for every class that a coldkey had executors of in either cycle."""
    now, before = measured(inputs.counts), measured(inputs.previous_counts)
    share = Fraction(inputs.configuration.dancing_share)
    classes = sorted({name for _, name in (*now, *before)})
    found = {}
    for coldkey, hotkeys in _by_coldkey(inputs.neurons).items():
        unmeasured = _why_unmeasured(set(hotkeys), hotkeys_in(now), hotkeys_in(before))
        for name in classes:
            movement = _movement(hotkeys, name, now, before)
            if movement.slots:
                why_not = unmeasured or _why_too_little(movement, share)
                found[coldkey, name] = Movement(movement.moved, movement.slots, why_not)
    return found


def _movement(hotkeys: Iterable[str], name: str, now: Measured, before: Measured) -> Movement:
    """Executors that left some UIDs and arrived at others, and the larger of both cycles' totals."""
    counts = [(now.get((hotkey, name), 0), before.get((hotkey, name), 0)) for hotkey in hotkeys]
    arrived = sum(max(new - old, 0) for new, old in counts)
    left = sum(max(old - new, 0) for new, old in counts)
    slots = max(sum(new for new, _ in counts), sum(old for _, old in counts))
    return Movement(min(arrived, left), slots, "")


def _why_unmeasured(hotkeys: set[str], now: set[str], before: set[str]) -> str:
    """A UID that only one of the measurements covers is new or hidden; one that none covers is no miner."""
    if not before:
        return "this validator measured nothing in the cycle before"
    if not now:
        return "this validator measured nothing in this cycle"
    if new := sorted((hotkeys & now) - before):
        return f"{new[0]} was not measured in the cycle before"
    if hidden := sorted((hotkeys & before) - now):
        return f"{hidden[0]} was not measured in this cycle"
    return ""


def _why_too_little(movement: Movement, share: Fraction) -> str:
    if movement.moved and movement.moved >= share * movement.slots:
        return ""
    return f"{movement.moved} of {movement.slots} executors moved, less than {share} of them"


def _by_coldkey(neurons: Iterable[NeuronFact]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for neuron in neurons:
        found.setdefault(neuron.coldkey, []).append(neuron.hotkey)
    return found
