"""How many holders of a class there shall be, and what to dispatch or stop for that. Pure.

Nomad chooses the devices, so only counts are kept. A holder is known by class, index and generation;
these three are the idempotency token of its dispatch, so that a repeated dispatch makes no second one.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from horde_agents.placement.standings import MEANINGS, Standing

#: As many as the nodes have devices for.
ALL: Final = -1


@dataclass(frozen=True, slots=True)
class Holder:
    """One dispatched holder as Nomad knows it."""

    nomad_job_id: str
    executor_class: str
    index: int
    generation: int
    standing: Standing
    allocation_id: str = ""
    node: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One holder to start."""

    executor_class: str
    index: int
    generation: int

    def token(self, horde: str) -> str:
        """The idempotency token."""
        return f"{horde}/{self.executor_class}/{self.index}/{self.generation}"


@dataclass(frozen=True, slots=True)
class Stop:
    """One holder to end, and why."""

    nomad_job_id: str
    why: str


@dataclass(frozen=True, slots=True)
class KeepingPlan:
    """What the keeper does next."""

    dispatches: tuple[Dispatch, ...] = ()
    stops: tuple[Stop, ...] = ()


def keeping_plan(wanted: Mapping[str, int], holders: Iterable[Holder]) -> KeepingPlan:
    """Replace what has ended, dispatch what is missing, stop what is too much or twice.

    ``wanted`` are counts by class, none of them ``ALL``; a class that is not in it wants none. Whoever has
    a slot stays before those that wait for one, and before the place of one that has ended is filled.
    """
    by_place: dict[str, dict[int, list[Holder]]] = defaultdict(lambda: defaultdict(list))
    for holder in holders:
        by_place[holder.executor_class][holder.index].append(holder)
    dispatches: list[Dispatch] = []
    stops: list[Stop] = []
    for name in sorted(set(wanted) | set(by_place)):
        places, count = by_place[name], wanted.get(name, 0)
        living = {index: _living(each) for index, each in places.items()}
        held = sorted((index for index in places if living[index]), key=lambda index: _rank(living[index][0]))
        free = (index for index in itertools.count() if not living.get(index))
        missing = itertools.islice(free, max(0, count - len(held)))
        dispatches += [Dispatch(name, index, _generation(places[index]) + 1) for index in missing]
        for index in sorted(held[:count]):
            stops += [
                Stop(holder.nomad_job_id, "a newer holder has its place") for holder in living[index][1:]
            ]
        for index in sorted(held[count:]):
            stops += [Stop(holder.nomad_job_id, f"{name} wants fewer holders") for holder in living[index]]
    return KeepingPlan(tuple(dispatches), tuple(stops))


def capacity(gpus: int, matching_devices_by_node: Mapping[str, int]) -> int:
    """Holders of a class that need ``gpus`` devices each and fit on these nodes."""
    return sum(count // gpus for count in matching_devices_by_node.values())


def _rank(holder: Holder) -> tuple[bool, int]:
    """Who stays when there are too many, first."""
    return not MEANINGS[holder.standing].keeps_slot, holder.index


def _living(holders: list[Holder]) -> list[Holder]:
    """Those that have not ended, the newest first."""
    newest = sorted(holders, key=lambda each: each.generation, reverse=True)
    return [holder for holder in newest if not MEANINGS[holder.standing].ended]


def _generation(holders: list[Holder]) -> int:
    """The highest ever; 0 for none."""
    return max((holder.generation for holder in holders), default=0)
