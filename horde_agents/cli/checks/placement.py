"""What a horde's shared records say about its health. Pure."""

from collections.abc import Iterator
from typing import Final

from horde_agents.cli.checks.finding import Finding, fine, noted, wrong
from horde_agents.cli.placement_picture import short
from horde_agents.placement.dance import clashes
from horde_agents.placement.records import CHOREOGRAPHER, KEEPER, HordeState, Member, Slot

#: What stays undone while nobody has a role.
_UNDONE: Final = {
    CHOREOGRAPHER: "no slot moves, and new ones get no UID",
    KEEPER: "no holder is started, replaced or stopped",
}
_SHOWN: Final = 5


def placement_findings(horde: str, state: HordeState, *, has_keeper: bool) -> Iterator[Finding]:
    """Everything about it; ``has_keeper`` where holders are kept in Nomad."""
    yield _miners(horde, state)
    for role in (CHOREOGRAPHER, KEEPER) if has_keeper else (CHOREOGRAPHER,):
        yield _role(role, state)
    for garbage in state.garbage:
        yield wrong("placement key", f"{garbage.key} cannot be read ({garbage.why}); mend or delete this key")
    for sentence in sorted(set(clashes(state.slots).values())):
        yield wrong("slots", f"{sentence}; none of them is served. Stop all of their holders but one")
    yield from _away(state)
    if state.dance_wanted:
        yield noted("dance", "a dance is asked for and not over yet")


def _miners(horde: str, state: HordeState) -> Finding:
    if not state.members:
        return wrong("miners", f"no miner of horde {horde} runs; start one with this horde and store")
    names = [f"UID {'?' if each.uid is None else each.uid} {short(each.hotkey)}" for each in _by_uid(state)]
    return fine("miners", f"{len(names)} live: {_few(names)}")


def _by_uid(state: HordeState) -> list[Member]:
    return sorted(state.members.values(), key=lambda each: (each.uid is None, each.uid or 0, each.hotkey))


def _role(role: str, state: HordeState) -> Finding:
    name, session = state.roles.get(role, ("", None))
    if session is not None and name in state.members:
        return fine(role, short(name))
    if session is not None:
        return wrong(
            role,
            f"{short(name) or 'nobody'}, no miner that lives, has the role, so {_UNDONE[role]}. "
            f"End the session {session} that holds it",
        )
    return wrong(
        role,
        f"no miner has the role, so {_UNDONE[role]}. A miner takes it within seconds if it runs with this "
        "horde and store; its log says why it cannot",
    )


def _away(state: HordeState) -> Iterator[Finding]:
    """Slots whose UID has no living miner."""
    by_owner: dict[str, list[Slot]] = {}
    for slot in state.slots.values():
        if slot.owner and slot.owner not in state.members:
            by_owner.setdefault(slot.owner, []).append(slot)
    for owner, slots in sorted(by_owner.items()):
        pinned = sum(slot.pinned for slot in slots)
        later = f"; {pinned} of them are pinned and stay its own" if pinned else ""
        uid = next((f"UID {slot.uid} " for slot in slots if slot.uid is not None), "")
        yield wrong(
            "slots",
            f"{len(slots)} serve {uid}{short(owner)}, whose miner is away: "
            f"{_few([slot.slot_id for slot in slots])}. "
            f"Start it, or they move on after 'owner_gone_s'{later}",
        )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
