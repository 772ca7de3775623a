"""Which slots move to which UID, and why. Pure: the generator is given, and should be a cryptographic one.

Homeless slots go first (their owner is not alive, is drained, or was never chosen), then a dance moves
some of the others, so that nobody who saw the last cycle's counts knows this one's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from horde_agents.placement.records import HordeState, Member, Slot, SlotState

_MOVABLE: Final = frozenset({SlotState.VACANT, SlotState.READY})


class Why(StrEnum):
    """The reason of a move, as the history keeps it."""

    NEW = "new"  # the slot had no owner yet
    OWNER_GONE = "owner_gone"  # no agent of its UID lives
    DRAINED = "drained"  # the operator drains its UID
    MINIMUM = "minimum"  # a UID has fewer of the class than each should
    DANCE = "dance"


@dataclass(frozen=True, slots=True)
class Move:
    """One slot to another UID."""

    slot: Slot
    to: Member
    why: Why


@dataclass(frozen=True, slots=True)
class DanceRules:
    """``least_per_class`` slots of a class are every UID's, as far as there are so many; ``largest_share``
    of a class's slots moves in one cycle at most, however often it is asked to dance."""

    least_per_class: int = 1
    largest_share: float = 0.3


def homeless_moves(state: HordeState, gone: Iterable[str], rng: Random) -> list[Move]:
    """Slots that need an owner, each to the living UID that has the fewest of the class.

    ``gone`` are owners whose agent has been away for so long that their slots may be given away.
    """
    targets = _targets(state)
    if not targets:
        return []
    counts = _counts(state.slots.values())
    away, moves = set(gone), []
    for slot in sorted(state.slots.values(), key=lambda each: each.slot_id):
        why = _why_homeless(slot, state, away)
        if why is None:
            continue
        of_class = counts[slot.executor_class]
        fewest = min(of_class[member.hotkey] for member in targets)
        to = rng.choice([member for member in targets if of_class[member.hotkey] == fewest])
        of_class[slot.owner] -= 1
        of_class[to.hotkey] += 1
        moves.append(Move(slot, to, why))
    return moves


def minimum_moves(state: HordeState, rules: DanceRules, rng: Random) -> list[Move]:
    """Slots for UIDs that have fewer of a class than the minimum, from those that have most above it."""
    targets = _targets(state)
    moves: list[Move] = []
    for slots in _by_class(state.slots.values()).values():
        counts = {member.hotkey: 0 for member in targets}
        idle: dict[str, list[Slot]] = defaultdict(list)
        for slot in slots:
            counts[slot.owner] = counts.get(slot.owner, 0) + 1
            if slot.owner and not slot.pinned and slot.state in _MOVABLE:
                idle[slot.owner].append(slot)
        for member in targets:
            while counts[member.hotkey] < rules.least_per_class:
                above = [hotkey for hotkey in idle if counts[hotkey] > rules.least_per_class]
                givers = [hotkey for hotkey in above if idle[hotkey]]
                if not givers:
                    break
                giver = max(givers, key=lambda hotkey: counts[hotkey])
                slot = idle[giver].pop(rng.randrange(len(idle[giver])))
                counts[giver] -= 1
                counts[member.hotkey] += 1
                moves.append(Move(slot, member, Why.MINIMUM))
    return moves


def dance_moves(state: HordeState, rules: DanceRules, cycle: int | None, rng: Random) -> list[Move]:
    """A random dance within ``rules``; a slot that is leased, pinned or homeless stays where it is.

    What has danced in this ``cycle`` counts against the share, so that a dance that was broken off is
    finished and not begun anew; where no cycle is known, each dance is one.
    """
    targets = [member for member in _targets(state) if member.may_dance]
    if len(targets) < 2:
        return []
    moves: list[Move] = []
    for slots in _by_class(state.slots.values()).values():
        danced = {slot.slot_id for slot in slots if cycle is not None and slot.moved_cycle == cycle}
        moves += _class_dance(slots, danced, targets, rules, rng)
    return moves


def next_main_hotkey(state: HordeState, rng: Random) -> str | None:
    """Another UID than the present main hotkey, alive and not drained; the same where there is no other."""
    before = state.main_hotkey.hotkey if state.main_hotkey else ""
    hotkeys = [member.hotkey for member in _targets(state)]
    others = [hotkey for hotkey in hotkeys if hotkey != before]
    return rng.choice(others or hotkeys) if hotkeys else None


def clashes(slots: Mapping[str, Slot]) -> dict[str, str]:
    """Slots that share a device with another held slot: slot id → a sentence. None of them may be served.

    A device's uuid is its own whichever node has it: the same on two nodes is a lie of one of them.
    """
    by_device: dict[str, list[Slot]] = defaultdict(list)
    for slot in slots.values():
        if slot.state is not SlotState.VACANT:
            for device in slot.devices:
                by_device[device].append(slot)
    found = {}
    for device, sharing in by_device.items():
        if len(sharing) > 1:
            names = ", ".join(sorted(slot.slot_id for slot in sharing))
            for slot in sharing:
                found[slot.slot_id] = f"device {device} is in several slots: {names}"
    return found


def _class_dance(
    slots: Sequence[Slot], danced: Set[str], targets: Sequence[Member], rules: DanceRules, rng: Random
) -> list[Move]:
    alive = {member.hotkey for member in targets}
    counts: dict[str, int] = defaultdict(int)
    for slot in slots:
        counts[slot.owner] += 1
    candidates = [
        slot
        for slot in slots
        if slot.owner in alive and not slot.pinned and slot.state in _MOVABLE and slot.slot_id not in danced
    ]
    most = int(len(slots) * rules.largest_share) - len(danced)
    rng.shuffle(candidates)
    moves: list[Move] = []
    for slot in candidates:
        if len(moves) >= most:
            break
        if counts[slot.owner] <= rules.least_per_class:
            continue
        to = rng.choice([member for member in targets if member.hotkey != slot.owner])
        counts[slot.owner] -= 1
        counts[to.hotkey] += 1
        moves.append(Move(slot, to, Why.DANCE))
    return moves


def _targets(state: HordeState) -> list[Member]:
    return [state.members[hotkey] for hotkey in sorted(state.members) if not state.is_drained(hotkey)]


def _why_homeless(slot: Slot, state: HordeState, gone: set[str]) -> Why | None:
    if slot.owner in gone and slot.owner not in state.members and not slot.pinned:
        return Why.OWNER_GONE  # also when it was leased: nobody is left who could say that it is not
    if slot.state not in _MOVABLE:
        return None
    if not slot.owner:
        return Why.NEW
    if slot.pinned or slot.owner not in state.members:
        return None
    return Why.DRAINED if state.is_drained(slot.owner) else None


def _by_class(slots: Iterable[Slot]) -> dict[str, list[Slot]]:
    found: dict[str, list[Slot]] = defaultdict(list)
    for slot in sorted(slots, key=lambda each: each.slot_id):
        found[slot.executor_class].append(slot)
    return found


def _counts(slots: Iterable[Slot]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for slot in slots:
        counts[slot.executor_class][slot.owner] += 1
    return counts
