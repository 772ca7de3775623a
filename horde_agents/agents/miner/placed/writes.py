"""Writes many changes in few transactions, so that one whose condition fails holds up no other."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from horde_agents.placement.coordination import MAX_CHANGES, Coordination, Delete, Held, Put

T = TypeVar("T")


async def commit_each(store: Coordination, changes: Sequence[Put | Delete], fence: Held | None = None) -> int:
    """Make those of ``changes`` whose condition holds, and none when the fence does not; how many it made.

    Raises:
        CoordinationAway, CoordinationDenied: what was made before that stays.
    """
    fences = [fence] if fence else []
    return sum([await _commit(store, chunk, fences) for chunk in chunks(changes, MAX_CHANGES - len(fences))])


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in order, at most ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def _commit(store: Coordination, changes: Sequence[Put | Delete], fences: Sequence[Held]) -> int:
    if await store.commit([*fences, *changes]):
        return len(changes)
    if len(changes) == 1 or (fences and not await store.commit(fences)):
        return 0
    half = len(changes) // 2
    return await _commit(store, changes[:half], fences) + await _commit(store, changes[half:], fences)
