"""Which UID has which slots, as a picture that fits a terminal. Pure text."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from horde_agents.placement.dance import clashes
from horde_agents.placement.records import (
    CHOREOGRAPHER,
    KEEPER,
    HordeState,
    MoveRecord,
    PoolWish,
    Slot,
    SlotState,
)

#: One cell a slot; the legend below the picture says what they mean.
_CELLS: Final = {
    SlotState.READY: "■",
    SlotState.LEASED: "▶",
    SlotState.VACANT: "□",
    SlotState.CLASHING: "✗",
}
_MOST_CELLS: Final = 40
_SHORT: Final = 8


def short(hotkey: str) -> str:
    """The beginning of a hotkey, enough for commands."""
    return hotkey[:_SHORT] or "nobody"


def picture(horde: str, state: HordeState, width: int = 80) -> list[str]:
    """The whole horde, with its faults last."""
    slots, members = len(state.slots), len(state.members)
    lines = [f"horde {horde}: {slots} slots, {members} living miners", *_roles(state), ""]
    lines += [*_miners(state), ""]
    for name, of_class in sorted(_by_class(state.slots.values()).items()):
        lines.append(name)
        for slot in of_class:
            lines += _slot(slot, width)
    if state.slots:
        lines += ["", "  ".join(f"{cell} {kind.value}" for kind, cell in _CELLS.items())]
    return lines + list(_faults(state))


def picture_json(horde: str, state: HordeState) -> dict[str, Any]:
    """The same for programs."""
    return {
        "horde": horde,
        "slots": list(state.slots.values()),
        "members": list(state.members.values()),
        "roles": {role: name for role in state.roles if (name := state.who_has(role)) is not None},
        "drained": sorted(filter(state.is_drained, state.uid_wishes)),
        "main_hotkey": state.main_hotkey,
        "last_dance_cycle": state.last_dance_cycle,
        "dance_wanted": state.dance_wanted,
        "clashes": clashes(state.slots),
        "garbage": list(state.garbage),
    }


def history(records: Sequence[MoveRecord]) -> Iterator[str]:
    """One line a move."""
    for record in records:
        by = short(record.by)
        for slot_id, before, after in record.moves:
            yield f"{record.at[:19]}  {record.why:<10}  {short(before)} → {short(after)}  by {by}  {slot_id}"


def pool_json(state: HordeState) -> dict[str, dict[str, Any]]:
    """By class; ``wanted`` is none where nobody but the keeper's settings says how many."""
    by_class = _by_class(state.slots.values())
    found = {}
    for name in sorted({*by_class, *state.pool_wishes, *state.pool_reports}):
        slots, report = by_class[name], state.pool_reports.get(name)
        wish = state.pool_wishes.get(name, PoolWish()).holders
        found[name] = {
            "wish": wish,
            "wanted": wish if report is None else report.wanted,
            "holders": sum(slot.state is not SlotState.VACANT for slot in slots),
            "leased": sum(bool(slot.job_uuid) for slot in slots),
            "waiting": report.waiting if report else 0,
            "says": report.says if report else "",
            "vacant": {slot.slot_id: slot.says for slot in slots if slot.state is SlotState.VACANT},
        }
    return found


def pool_lines(state: HordeState) -> Iterator[str]:
    """The same for people."""
    yield f"{'class':<28}  wanted  holders  leased  waiting"
    for name, row in pool_json(state).items():
        wanted = "-" if row["wanted"] is None else row["wanted"]
        yield f"{name:<28}  {wanted:>6}  {row['holders']:>7}  {row['leased']:>6}  {row['waiting']:>7}"
        if row["wish"] is not None:
            yield f"    an operator wants {row['wish']} holders (horde pool refill {name} ends that)"
        if row["says"]:
            yield f"    waiting: {row['says']}"
        for slot_id, says in row["vacant"].items():
            yield f"    vacant {slot_id}: {says or 'it has no holder'}"


def _roles(state: HordeState) -> Iterator[str]:
    for role in (CHOREOGRAPHER, KEEPER):
        name = state.who_has(role)
        if name is not None or role == CHOREOGRAPHER:
            yield f"{role} {'none' if name is None else short(name)}"
    if state.main_hotkey:
        yield f"main hotkey {short(state.main_hotkey.hotkey)} of cycle {state.main_hotkey.cycle}"
    if state.last_dance_cycle >= 0:
        yield f"last dance in cycle {state.last_dance_cycle}"
    if state.dance_wanted:
        yield "a dance is asked for"


def _miners(state: HordeState) -> Iterator[str]:
    owners = {slot.owner for slot in state.slots.values()}
    for hotkey in sorted({*state.members, *owners, *state.uid_wishes}, key=lambda each: (not each, each)):
        slots = [slot for slot in state.slots.values() if slot.owner == hotkey]
        member = state.members.get(hotkey)
        uids = {member.uid} if member else {slot.uid for slot in slots}
        uid = next((str(uid) for uid in uids if uid is not None), "?") if hotkey else "-"
        notes = [] if member or not hotkey else ["away"]
        if member and not member.may_dance:
            notes.append("does not dance")
        if state.is_drained(hotkey):
            notes.append("drained")
        cells = "".join(_CELLS[slot.state] for slot in sorted(slots, key=_order)[:_MOST_CELLS])
        more = f" +{len(slots) - _MOST_CELLS}" if len(slots) > _MOST_CELLS else ""
        yield f"UID {uid:<4} {short(hotkey):<8}  {cells}{more}  {', '.join(notes)}".rstrip()


def _slot(slot: Slot, width: int) -> Iterator[str]:
    line = f"  {_CELLS[slot.state]} {slot.state.value:<8}  {short(slot.owner):<8}  epoch {slot.epoch:<4}"
    if len(line) + 2 + len(slot.slot_id) <= width:
        yield f"{line}  {slot.slot_id}"
    else:
        yield line.rstrip()
        yield f"      {slot.slot_id}"
    notes = [
        "pinned" if slot.pinned else "",
        f"job {slot.job_uuid}" if slot.job_uuid else "",
        f"says: {slot.says}" if slot.says else "",
        f"gets no further job: {slot.leaving}" if slot.leaving else "",
    ]
    if any(notes):
        yield f"      {'; '.join(filter(None, notes))}"


def _faults(state: HordeState) -> Iterator[str]:
    for sentence in sorted(set(clashes(state.slots).values())):
        yield f"CLASH: {sentence}; none of them is served"
    for garbage in state.garbage:
        yield f"UNREADABLE: {garbage.key}: {garbage.why}; mend or delete this key"


def _by_class(slots: Iterable[Slot]) -> dict[str, list[Slot]]:
    found: dict[str, list[Slot]] = defaultdict(list)
    for slot in sorted(slots, key=_order):
        found[slot.executor_class].append(slot)
    return found


def _order(slot: Slot) -> tuple[str, str]:
    return slot.owner, slot.slot_id
