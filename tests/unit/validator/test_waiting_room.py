"""Who may look for a miner next: the oldest first, each once at every change, nobody past a limit."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from horde_agents.agents.validator.waiting import Place, RoomFull, WaitingRoom
from horde_agents.runtime.clock import now

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def place(name: str, classes: str, after_s: int = 0, wait_s: float = 60.0, user: str = "u") -> Place:
    until = now() + timedelta(seconds=wait_s)
    return Place(name, user, frozenset(classes.split()), BEGAN + timedelta(seconds=after_s), until)


async def has_turn(room: WaitingRoom, each: Place) -> bool:
    """Whether it is its turn now."""
    try:
        async with asyncio.timeout(0.02):
            return await room.turn(each)
    except TimeoutError:
        return False


async def test_the_oldest_has_the_first_turn_however_late_it_came_in() -> None:
    room, late, early = WaitingRoom(9, 9), place("late", "a", 5), place("early", "a", 1)
    with room.placed(late):
        assert await has_turn(room, late)
        room.failed(late)
        with room.placed(early):
            room.capacity_changed()
            assert await has_turn(room, early)
            assert not await has_turn(room, late)


async def test_a_class_that_has_nothing_left_is_passed_over_and_others_are_not() -> None:
    room = WaitingRoom(9, 9)
    first, same, other = place("1", "a", 1), place("2", "a", 2), place("3", "b", 3)
    with room.placed(first), room.placed(same), room.placed(other):
        assert await has_turn(room, first)
        room.failed(first)
        assert not await has_turn(room, same)
        assert await has_turn(room, other)


async def test_a_job_that_is_closed_to_some_miners_does_not_stop_those_behind_it() -> None:
    room, first, second = WaitingRoom(9, 9), place("1", "a", 1), place("2", "a", 2)
    first.has_tried_any = True
    with room.placed(first), room.placed(second):
        assert await has_turn(room, first)
        room.failed(first)
        assert await has_turn(room, second)


async def test_each_has_one_turn_at_a_change_and_another_at_the_next() -> None:
    room, only = WaitingRoom(9, 9), place("1", "a")
    with room.placed(only):
        for _ in range(3):
            assert await has_turn(room, only)
            room.failed(only)
            assert not await has_turn(room, only)
            room.capacity_changed()


async def test_a_change_during_a_turn_is_not_lost() -> None:
    room, only = WaitingRoom(9, 9), place("1", "a")
    with room.placed(only):
        assert await has_turn(room, only)
        room.capacity_changed()
        room.failed(only)
        assert await has_turn(room, only)


async def test_one_that_leaves_in_its_turn_hands_it_on() -> None:
    room, first, second = WaitingRoom(9, 9), place("1", "a", 1), place("2", "a", 2)
    with room.placed(second):
        with room.placed(first):
            room.capacity_changed()
        assert await has_turn(room, second)


async def test_one_without_time_looks_once_after_those_before_it() -> None:
    room, first, passing = WaitingRoom(9, 9), place("1", "a", 1), place("2", "a b", 2, wait_s=-1)
    with room.placed(first), room.placed(passing):
        assert not await has_turn(room, passing)
        room.failed(first)
        assert await has_turn(room, passing)
        room.failed(passing)
        assert await room.turn(passing) is False


async def test_time_that_is_over_ends_the_waiting() -> None:
    room, first = WaitingRoom(9, 9), place("1", "a", wait_s=0.05)
    with room.placed(first):
        assert await room.turn(first)
        room.failed(first)
        assert await room.turn(first) is False


async def test_a_withdrawn_job_waits_no_more() -> None:
    room, first = WaitingRoom(9, 9), place("1", "a")
    with room.placed(first):
        room.failed(first)
        room.withdraw("1")
        assert await room.turn(first) is False


async def test_the_first_looks_again_though_nobody_said_that_anything_changed() -> None:
    room, first = WaitingRoom(9, 9), place("1", "a")
    with room.placed(first):
        assert await room.turn(first)
        room.failed(first)
        async with asyncio.timeout(10):
            assert await room.turn(first)


def test_the_room_and_each_users_part_of_it_are_bounded() -> None:
    room = WaitingRoom(3, 2)
    with ExitStack() as stack:
        for n in range(2):
            stack.enter_context(room.placed(place(str(n), "a", n)))
        with pytest.raises(RoomFull, match="of this user"), room.placed(place("2", "a")):
            pass
        stack.enter_context(room.placed(place("3", "a", user="v")))
        with pytest.raises(RoomFull, match="3 jobs wait already"), room.placed(place("4", "a", user="w")):
            pass
        assert len(room) == 3
    assert not room.is_wanted(["a"])
