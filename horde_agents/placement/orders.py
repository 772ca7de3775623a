"""What an operator may order, as changes of the shared store: drain, pin, counts of holders. Pure.

Every order is check-and-set; it is made anew from a newer state when somebody else was faster.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from horde_agents.jobs.classes import CATALOGUE
from horde_agents.placement.coordination import Change, Delete, Put
from horde_agents.placement.records import (
    HordeState,
    Keys,
    Member,
    MoveRecord,
    PoolWish,
    Slot,
    SlotState,
    UidWish,
    as_json,
    given_to,
)

OPERATOR: Final = "operator"


class OrderRefused(Exception):
    """The order names what is not there, or cannot be carried out now; the text says what to do."""


def uid_named(state: HordeState, text: str) -> str:
    """The hotkey that ``text`` means: a UID, a hotkey, or the beginning of one.

    Raises:
        OrderRefused: none or several of the horde's.
    """
    uids = {slot.owner: slot.uid for slot in state.slots.values() if slot.owner}
    uids |= {hotkey: member.uid for hotkey, member in state.members.items()}
    uids |= {hotkey: uids.get(hotkey) for hotkey in state.uid_wishes}
    if not text:
        raise OrderRefused(f"The name of the UID is empty. There are: {_several(uids)}.")
    if text.isdecimal():
        found = [hotkey for hotkey, uid in uids.items() if str(uid) == text]
    else:
        found = [hotkey for hotkey in uids if hotkey == text] or [h for h in uids if h.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise OrderRefused(f"{text!r:.80} may be {_several(found)}. Write the whole hotkey.")
    raise OrderRefused(
        f"No miner or slot of this horde has the hotkey or UID {text!r:.80}. There are: {_several(uids)}."
    )


def drain(state: HordeState, keys: Keys, hotkey: str, *, drained: bool) -> Sequence[Change]:
    """Give a UID no slots and take those it has; or end that."""
    key = keys.uid(hotkey)
    index = state.indices.get(key, 0)
    if drained:
        return [] if state.is_drained(hotkey) else [Put(key, as_json(UidWish(drained=True)), index)]
    return [Delete(key, index)] if index else []


def pin(state: HordeState, keys: Keys, slot_id: str, to: str | None, at: str) -> Sequence[Change]:
    """Keep a slot at its UID, or at the living UID ``to``, through dances and drains.

    Raises:
        OrderRefused: no such slot, ``to`` has no living miner, or the slot would move and is leased.
    """
    slot, key = _slot(state, slot_id), keys.slot(slot_id)
    pinned = replace(slot, pinned=True)
    changes: list[Change] = []
    if to is not None and to != slot.owner:
        pinned = given_to(pinned, _may_move(state, slot, to))
        record = MoveRecord(at, OPERATOR, "pinned", ((slot_id, slot.owner, to),))
        changes.append(Put(f"{keys.history}{at}-{OPERATOR}", as_json(record), 0))
    elif not slot.owner:
        raise OrderRefused(f"Slot {slot_id} has no owner yet. Say where to pin it: --to HOTKEY.")
    return [Put(key, as_json(pinned), state.indices[key]), *changes] if pinned != slot else []


def unpin(state: HordeState, keys: Keys, slot_id: str) -> Sequence[Change]:
    """Let a slot move again.

    Raises:
        OrderRefused: no such slot.
    """
    slot, key = _slot(state, slot_id), keys.slot(slot_id)
    return [Put(key, as_json(replace(slot, pinned=False)), state.indices[key])] if slot.pinned else []


def pool_wish(state: HordeState, keys: Keys, executor_class: str, holders: int | None) -> Sequence[Change]:
    """Have so many holders of a class; as configured for ``None``.

    Raises:
        OrderRefused: no such class.
    """
    known = {*CATALOGUE, *(slot.executor_class for slot in state.slots.values()), *state.pool_wishes}
    if executor_class not in known:
        raise OrderRefused(_unknown("executor class", executor_class, known))
    key = keys.pool(executor_class)
    index = state.indices.get(key, 0)
    if holders is None:
        return [Delete(key, index)] if index else []
    wish = PoolWish(holders)
    return [] if state.pool_wishes.get(executor_class) == wish else [Put(key, as_json(wish), index)]


def why_nothing_danced(state: HordeState) -> str:
    """The likely reason of a dance that moved nothing."""
    dancers = [
        hotkey
        for hotkey, member in state.members.items()
        if member.may_dance and not state.is_drained(hotkey)
    ]
    if not state.slots:
        return "the horde has no slots"
    if len(dancers) < 2:
        return (
            f"of {len(state.members)} living miners {len(dancers)} dance; it takes two that are not drained"
        )
    return (
        "the share of this cycle is used up, or slots are leased, pinned or the last of their UID and class"
    )


def _slot(state: HordeState, slot_id: str) -> Slot:
    if slot_id not in state.slots:
        raise OrderRefused(_unknown("slot", slot_id, state.slots))
    return state.slots[slot_id]


def _may_move(state: HordeState, slot: Slot, to: str) -> Member:
    if to not in state.members:
        raise OrderRefused(
            f"No miner of {to} is alive, so slot {slot.slot_id} cannot go there. Start it first."
        )
    if slot.state in {SlotState.LEASED, SlotState.CLASHING} or slot.job_uuid:
        job = f" by job {slot.job_uuid}" if slot.job_uuid else ""
        raise OrderRefused(
            f"Slot {slot.slot_id} is {slot.state.value}{job} and stays where it is. Try again after that."
        )
    return state.members[to]


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {_several(known)}."
    return f"There is no {kind} {name!r:.80} in this horde. {hint}"


def _several(names: Iterable[str]) -> str:
    sorted_names = sorted(names)
    more = f" and {len(sorted_names) - 8} more" if len(sorted_names) > 8 else ""
    return (", ".join(sorted_names[:8]) or "none") + more
