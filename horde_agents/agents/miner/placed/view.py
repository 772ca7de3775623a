"""This miner's picture of the horde: kept fresh by one blocking query, used as it is while that fails."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

from horde_agents.placement.coordination import (
    Coordination,
    CoordinationAway,
    CoordinationDenied,
    Snapshot,
)
from horde_agents.placement.records import Garbage, HordeState, Keys, Slot, read_state
from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: Seconds after which a blocking query returns without a change; below the clients' own limits.
_WAIT_S: Final = 55.0
#: Seconds between two readings at least: each is of everything, and many changes come together.
_GATHER_S: Final = 0.1
_log = get_logger(__name__)


@dataclass(slots=True)
class PlacementView:
    """The last snapshot, and who wants to hear of the next; ``trouble`` says why there is none newer."""

    coordination: Coordination
    keys: Keys
    state: HordeState = field(default_factory=HordeState)
    trouble: str | None = "the placement store has not been read yet"
    read_at_s: float = 0.0
    _told: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    _waiting: set[asyncio.Event] = field(default_factory=set)
    _known_garbage: set[Garbage] = field(default_factory=set)

    def on_change(self, told: Callable[[], Awaitable[None]]) -> None:
        """Call ``told`` after every change; changes in the meantime of a call are told together."""
        self._told.append(told)

    def addresses(self) -> list[str]:
        """Where the miners that live take executors in."""
        return [member.address for member in self.state.members.values()]

    async def follow(self) -> None:
        """Keep the picture fresh for ever; those who are told of it never hold it up."""
        async with asyncio.TaskGroup() as group:
            for told in self._told:
                group.create_task(self._tell(told))
            group.create_task(self._read())

    async def _tell(self, told: Callable[[], Awaitable[None]]) -> None:
        with self.changes() as changed:
            while True:
                await changed.wait()
                changed.clear()
                await told()

    async def _read(self) -> None:
        while True:
            for delay_s in delays_s(0.1, 5.0, Random()):  # noqa: S311  (spreads retries)
                if await self._read_on():
                    break
                await asyncio.sleep(delay_s)

    async def refresh(self) -> None:
        """Read now.

        Raises:
            CoordinationAway, CoordinationDenied: as it says.
        """
        self._take(await self.coordination.snapshot(self.keys.prefix))

    async def slot_now(self, slot_id: str) -> tuple[Slot | None, int]:
        """One slot as the store's leader knows it at this moment, and its index; 0 where there is no key.

        Raises:
            CoordinationAway, CoordinationDenied: as it says.
        """
        key = self.keys.slot(slot_id)
        state = read_state(self.keys, await self.coordination.snapshot(key))
        return state.slots.get(slot_id), state.indices.get(key, 0)

    async def slots_now(self, slot_ids: Collection[str]) -> dict[str, tuple[Slot | None, int]]:
        """As ``slot_now``, of several in one reading."""
        if len(slot_ids) == 1:
            return {slot_id: await self.slot_now(slot_id) for slot_id in slot_ids}
        snapshot = await self.coordination.snapshot(self.keys.slot(""))
        state = read_state(self.keys, snapshot, self.state)
        return {
            slot_id: (state.slots.get(slot_id), state.indices.get(self.keys.slot(slot_id), 0))
            for slot_id in slot_ids
        }

    @contextmanager
    def changes(self) -> Iterator[asyncio.Event]:
        """An event that is set at every change; the reader clears it."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.discard(event)

    async def _read_on(self) -> bool:
        """One query after another until one fails; True when at least one has worked."""
        worked = False
        try:
            await self.refresh()
            while True:
                worked = True
                index = self.state.index
                snapshot = await self.coordination.changed(self.keys.prefix, index, _WAIT_S)
                self.read_at_s = monotonic_s()
                if self.state.index != index:
                    continue  # a refresh came in between, and this answer may be older than it
                if snapshot.index != index:
                    self._take(snapshot)
                    await asyncio.sleep(_GATHER_S)
        except (CoordinationAway, CoordinationDenied) as error:
            if self.trouble is None:
                _log.warning("placement is not read, serving on what is known", why=str(error))
            self.trouble = str(error)
        return worked

    def _take(self, snapshot: Snapshot) -> None:
        state = read_state(self.keys, snapshot, self.state)
        if self.trouble is not None:
            _log.info("placement is read", slots=len(state.slots), members=len(state.members))
        self.state, self.trouble, self.read_at_s = state, None, monotonic_s()
        for garbage in set(state.garbage) - self._known_garbage:
            _log.warning(
                "placement key cannot be read, going on without it", key=garbage.key, why=garbage.why
            )
        self._known_garbage = set(state.garbage)
        for event in self._waiting:
            event.set()


async def next_change(changed: asyncio.Event, patience_s: float) -> None:
    """Wait until ``changed`` is set, or as long as ``patience_s``; then clear it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await changed.wait()
    changed.clear()
