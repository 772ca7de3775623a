"""Builds hordes and their moves for the tests of placement's decisions."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from horde_agents.placement.dance import Move
from horde_agents.placement.records import HordeState, Member, Slot, SlotState, UidWish, given_to

CLASSES = ("always_on.test", "always_on.llm.a6000")
HOTKEYS = ("A", "B", "C", "D")


def member(hotkey: str, *, may_dance: bool = True) -> Member:
    return Member(hotkey, HOTKEYS.index(hotkey), f"10.0.0.1:1/{'0' * 64}", may_dance)


def slot(number: int, owner: str = "A", state: SlotState = SlotState.READY, **more: object) -> Slot:
    known = Slot(f"node:cpu-{number}", CLASSES[0], "node", owner=owner, epoch=1, state=state)
    return replace(known, **more)  # type: ignore[arg-type]  # the tests name fields of a slot


def horde(
    slots: Iterable[Slot],
    living: Sequence[str] = ("A", "B"),
    drained: Iterable[str] = (),
    resting: Iterable[str] = (),
) -> HordeState:
    """A horde whose members are ``living``; those ``resting`` among them do not dance."""
    return HordeState(
        slots={each.slot_id: each for each in slots},
        members={hotkey: member(hotkey, may_dance=hotkey not in set(resting)) for hotkey in living},
        uid_wishes={hotkey: UidWish(drained=True) for hotkey in drained},
    )


def after(state: HordeState, moves: Iterable[Move], cycle: int = 7) -> HordeState:
    """The horde once ``moves`` are made, as the choreographer makes them."""
    moved = {move.slot.slot_id: replace(given_to(move.slot, move.to), moved_cycle=cycle) for move in moves}
    return replace(state, slots={**state.slots, **moved})


@st.composite
def hordes(draw: st.DrawFn) -> HordeState:
    """Any horde: owners that live, are drained, rest, are gone or were never chosen, slots in every state."""
    living = draw(st.lists(st.sampled_from(HOTKEYS), unique=True))
    some = st.lists(st.sampled_from(HOTKEYS), unique=True, max_size=2)
    slots = [
        slot(
            number,
            draw(st.sampled_from(("", "gone", *HOTKEYS))),
            draw(st.sampled_from(SlotState)),
            executor_class=draw(st.sampled_from(CLASSES)),
            pinned=draw(st.sampled_from((False, False, False, True))),
            moved_cycle=draw(st.sampled_from((-1, 6, 7))),
        )
        for number in range(draw(st.integers(0, 24)))
    ]
    return horde(slots, living, draw(some), draw(some))
