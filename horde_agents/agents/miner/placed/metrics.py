"""What a miner that shares its slots tells Prometheus: its picture of the horde whenever it is asked."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from horde_agents.agents.miner.placed.shared import SharedPlacement
from horde_agents.placement.dance import Why
from horde_agents.placement.records import CHOREOGRAPHER, KEEPER
from horde_agents.runtime.clock import monotonic_s


class PlacementMetrics(Collector):
    """Empty until ``shared`` is set: a miner on its own has no placement."""

    def __init__(self) -> None:
        self.shared: SharedPlacement | None = None

    def describe(self) -> Iterator[Metric]:
        """All families, without values."""
        return iter(_families().values())

    def collect(self) -> Iterator[Metric]:
        """All families as the picture is now."""
        families = _families()
        if self.shared is not None:
            _fill(families, self.shared)
        return iter(families.values())


def _families() -> dict[str, GaugeMetricFamily | CounterMetricFamily]:
    gauges: dict[str, tuple[str, list[str]]] = {
        "placed_slots": ("Slots that serve this UID, by class and state", ["executor_class", "state"]),
        "holders_wanted": ("Holders that the horde shall have, as its keeper reports", ["executor_class"]),
        "holders": ("Holders that the horde has, as its keeper reports", ["executor_class"]),
        "holders_waiting": ("Holders that wait in Nomad for a place", ["executor_class"]),
        "role": ("Whether this miner has the role; over the horde's miners the sum is 1", ["role"]),
        "placement_age_seconds": ("Seconds since placement was read; up to 60 are usual", []),
        "placement_trouble": ("Whether placement cannot be read now", []),
        "placement_unreadable_keys": ("Placement keys that cannot be read", []),
    }
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
        name: GaugeMetricFamily(f"horde_miner_{name}", says, labels=labels)
        for name, (says, labels) in gauges.items()
    }
    families["moves"] = CounterMetricFamily(
        "horde_miner_moves", "Slots that this miner moved as choreographer, by reason", labels=["why"]
    )
    return families


def _fill(families: dict[str, GaugeMetricFamily | CounterMetricFamily], shared: SharedPlacement) -> None:
    view, me = shared.view, shared.member().hotkey
    state = view.state

    def add(name: str, value: float, *labels: str) -> None:
        families[name].add_metric(labels, value)

    mine = Counter(
        (slot.executor_class, slot.state.value) for slot in state.slots.values() if slot.owner == me
    )
    for (executor_class, slot_state), count in sorted(mine.items()):
        add("placed_slots", count, executor_class, slot_state)
    for name, report in sorted(state.pool_reports.items()):
        add("holders_wanted", report.wanted, name)
        add("holders", report.holders, name)
        add("holders_waiting", report.waiting, name)
    for role in (CHOREOGRAPHER, KEEPER):
        add("role", float(state.who_has(role) == me), role)
    if view.read_at_s:
        add("placement_age_seconds", monotonic_s() - view.read_at_s)
    add("placement_trouble", float(view.trouble is not None))
    add("placement_unreadable_keys", len(state.garbage))
    for why in Why:
        add("moves", shared.choreographer.moves[why.value], why.value)
