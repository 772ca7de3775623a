"""Jobs that wait for capacity (extension ``waiting/1``): bounded, in the order in which they were received.

Nothing here is durable: a waiting job is stored as received, and takes its old place after a restart.
At a change of capacity the turn goes through the queue once; classes that have nothing left are passed over.
"""

import asyncio
import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from horde_agents.runtime.clock import now

#: Bars run out and manifests change without anybody saying so: the first in the queue looks this often.
_LOOK_S: Final = 1.0


class RoomFull(Exception):
    """No more jobs may wait; the text says whose limit is reached."""


class RoomClosed(Exception):
    """The validator is stopping: the job waits on in the store, for the next start."""


@dataclass(slots=True, eq=False)
class Place:
    """One job's place; ``has_tried_any`` when some miners are closed to it that others may have."""

    uuid: str
    user: str
    classes: frozenset[str]
    received_at: datetime
    until: datetime
    has_tried_any: bool = False
    tried_version: int = -1
    is_withdrawn: bool = False
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> tuple[datetime, str]:
        """First come, first served; the uuid decides between equals."""
        return self.received_at, self.uuid


@dataclass(slots=True)
class WaitingRoom:
    """All waiting jobs, oldest first; ``_full`` are classes that had nothing left at this version."""

    most: int
    most_of_user: int
    _version: int = 0
    _full: set[str] = field(default_factory=set)
    _places: list[Place] = field(default_factory=list)
    _granted: Place | None = None
    _granted_version: int = -1
    _is_closed: bool = False

    def __len__(self) -> int:
        return len(self._places)

    def is_wanted(self, classes: Sequence[str]) -> bool:
        """Whether a job waits for one of the classes."""
        return any(not place.classes.isdisjoint(classes) for place in self._places)

    def capacity_changed(self) -> None:
        """An executor may be free that was not: all may try again, in order."""
        if self._places:
            self._version += 1
            self._full.clear()
            self._advance()

    def close(self) -> None:
        """Let nobody wait in this process any more."""
        self._is_closed = True
        for place in self._places:
            place.bell.set()

    def withdraw(self, uuid: str) -> None:
        """The job is taken back: it waits no more."""
        for place in self._places:
            if place.uuid == uuid:
                place.is_withdrawn = True
                place.bell.set()

    @contextmanager
    def placed(self, place: Place) -> Iterator[None]:
        """Stand in the queue for the time of the block.

        Raises:
            RoomFull: too many wait, in all or of this user.
        """
        if len(self._places) >= self.most:
            raise RoomFull(f"{self.most} jobs wait already, which is this validator's limit.")
        if sum(other.user == place.user for other in self._places) >= self.most_of_user:
            raise RoomFull(f"{self.most_of_user} jobs of this user wait already, which is the limit.")
        bisect.insort(self._places, place, key=lambda each: each.key)
        self._advance()
        try:
            yield
        finally:
            self._places.remove(place)
            self._give_back(place)

    async def turn(self, place: Place) -> bool:
        """Wait until it is this job's turn to look for a miner; False when it waits no more.

        However little time it has, it gets one turn.

        Raises:
            RoomClosed: the validator is stopping.
        """
        while not place.is_withdrawn:
            if self._is_closed:
                raise RoomClosed
            if self._granted is place:
                return True
            left_s = (place.until - now()).total_seconds()
            if left_s <= 0 and place.tried_version >= 0:
                return False
            place.bell.clear()
            try:
                async with asyncio.timeout(min(left_s, _LOOK_S) if left_s > 0 else _LOOK_S):
                    await place.bell.wait()
            except TimeoutError:
                if self._places[0] is place and now() < place.until:
                    self.capacity_changed()
        return False

    def failed(self, place: Place) -> None:
        """There was no miner for this job."""
        place.tried_version = self._granted_version
        if not place.has_tried_any and self._granted_version == self._version:
            self._full |= place.classes
        self._give_back(place)

    def _give_back(self, place: Place) -> None:
        if self._granted is place:
            self._granted = None
        self._advance()

    def _advance(self) -> None:
        """Give the turn to the next that has not had it at this version."""
        if self._granted is not None:
            return
        for place in self._places:
            if place.tried_version == self._version or place.is_withdrawn:
                continue
            if place.classes <= self._full:
                place.tried_version = self._version
                place.bell.set()
                continue
            self._granted, self._granted_version = place, self._version
            place.bell.set()
            return
