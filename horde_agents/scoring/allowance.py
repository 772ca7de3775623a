"""The most points of organic work that a validator may give a miner: its fair share of measured time."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from horde_agents.scoring.facts import BatchCount, MinerWork, Outcome
from horde_agents.scoring.inputs import Inputs

#: Executors by (miner hotkey, class), all measured at one instant.
Measured = Mapping[tuple[str, str], int]


def measured(counts: Sequence[BatchCount]) -> Measured:
    """What the batch that fired last measured; nothing without a batch."""
    if not counts:
        return {}
    last = max((count.fire_block, count.batch_uuid) for count in counts)
    return {
        (count.miner_hotkey, count.executor_class): count.executors
        for count in counts
        if (count.fire_block, count.batch_uuid) == last
    }


def slots_of(inputs: Inputs, work: MinerWork) -> int:
    """The miner's slots of a class.

    As measured in this cycle; in a cycle without a batch, as in the one before. Work that ran shows one
    slot at least. The configured limit of executors caps the count.
    """
    key = (work.miner_hotkey, work.executor_class)
    slots = measured(inputs.counts or inputs.previous_counts).get(key, 0)
    ran = work.organic.count(Outcome.PASSED, Outcome.HORDE_ENDED) > 0
    most = inputs.configuration.max_executors_per_class.get(work.executor_class)
    return capped(max(slots, int(ran)), most)


def allowance_points(inputs: Inputs, work: MinerWork) -> Fraction:
    """The most points that organic work may give: share * slots * cycle, in points."""
    return inputs.share_of_capacity * Fraction(slots_of(inputs, work) * inputs.cycle_us, inputs.point_us)


def capped(count: int, most: int | None) -> int:
    """``count``, at most ``most`` where there is a limit."""
    return count if most is None else min(count, most)


def hotkeys_in(counts: Iterable[tuple[str, str]]) -> set[str]:
    """The miners that a measurement covers."""
    return {hotkey for hotkey, _ in counts}
