"""The executors that are connected now: who is idle, who works, who is expected back."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Protocol

from horde_agents.jobs.classes import CATALOGUE

#: Seconds an offer waits for an executor that is about to connect; the answer must come within one second.
_PATIENCE_S: Final = 0.7


class ExecutorLink(Protocol):
    """One connected executor."""

    @property
    def slot_id(self) -> str:
        """The slot it serves."""

    @property
    def executor_class(self) -> str:
        """The class of the slot."""

    @property
    def is_live(self) -> bool:
        """Whether it is still connected."""

    async def ready_for(self, job_uuid: str) -> str | None:
        """Why it cannot serve the attempt after all; ``None`` when it can."""

    async def send(self, text: str) -> None:
        """Hand a frame over; a link that broke meanwhile says nothing."""


@dataclass(frozen=True, slots=True)
class SlotCount:
    """How many slots there are for a class, and how many are free, those about to connect included."""

    all: int
    free: int


@dataclass(slots=True)
class Slots:
    """Idle and working executors by slot; a slot has one live link.

    ``expected`` are the slots that are counted: of a pool of the miner's own (``is_fixed``) always the
    same, else those that serve its UID and have a holder.
    """

    expected: dict[str, str] = field(default_factory=dict)
    is_fixed: bool = True
    _idle: dict[str, ExecutorLink] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)
    _seats: dict[str, ExecutorLink] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, slot_id: str, executor_class: str) -> None:
        """Count a slot from now on."""
        self.expected[slot_id] = executor_class

    def forget(self, slot_id: str) -> None:
        """Count a slot no more: it serves another UID."""
        self.expected.pop(slot_id, None)

    def gave_up(self, slot_id: str) -> None:
        """No executor of the slot has come for long."""
        if not self.is_fixed and slot_id not in self._busy:
            self.forget(slot_id)

    def add_seat(self, seat: ExecutorLink) -> None:
        """Count an executor that is started when it is needed; it is idle whenever no job has it."""
        self._seats[seat.slot_id] = seat
        self.expect(seat.slot_id, seat.executor_class)
        if seat.slot_id not in self._busy:
            self.offer_service(seat)

    def is_idle(self, link: ExecutorLink) -> bool:
        """Whether offers may go to this link."""
        return self._idle.get(link.slot_id) is link

    def offer_service(self, link: ExecutorLink) -> None:
        """An executor is idle and connected."""
        self._busy.discard(link.slot_id)
        self._idle[link.slot_id] = link
        self._changed.set()

    def withdraw(self, link: ExecutorLink) -> None:
        """A link is gone; a busy slot stays busy until it is released."""
        if self._idle.get(link.slot_id) is link:
            del self._idle[link.slot_id]

    def release(self, slot_id: str) -> None:
        """The slot's job is over; its next executor will connect."""
        self._busy.discard(slot_id)
        if (seat := self._seats.get(slot_id)) is not None:
            self.offer_service(seat)

    def give_back(self, link: ExecutorLink) -> None:
        """A link that was taken is not needed after all."""
        self._busy.discard(link.slot_id)
        if link.is_live and link.slot_id not in self._idle:
            self.offer_service(link)

    def occupy(self, slot_id: str) -> None:
        """A job of before runs on this slot."""
        self._idle.pop(slot_id, None)
        self._busy.add(slot_id)

    async def take(self, executor_class: str) -> ExecutorLink | None:
        """An idle executor of the class, waiting briefly when one is about to connect; ``None`` when busy."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while (link := self._pop(executor_class)) is None and self._is_due(executor_class):
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return self._pop(executor_class)
        return link

    def manifest(self) -> dict[str, int]:
        """Slots by class."""
        return dict(Counter(self.expected.values()))

    def wire_manifest(self) -> dict[str, int]:
        """Slots by the class name that stock validators know (wire note C.2.4)."""
        wire_names = (CATALOGUE[name].wire_class for name in self.expected.values() if name in CATALOGUE)
        return dict(Counter(name for name in wire_names if name))

    def serves(self, asked: str) -> bool:
        """Whether there are slots for jobs of the class ``asked``."""
        return any(_serves(name, asked) for name in self.expected.values())

    def count(self, asked: str) -> SlotCount:
        """The slots for jobs of the class ``asked``."""
        serving = [slot_id for slot_id, name in self.expected.items() if _serves(name, asked)]
        return SlotCount(len(serving), sum(slot_id not in self._busy for slot_id in serving))

    def counts(self) -> tuple[int, int]:
        """How many are idle, how many busy."""
        return len(self._idle), len(self._busy)

    def _pop(self, executor_class: str) -> ExecutorLink | None:
        for slot_id, link in self._idle.items():
            if _serves(link.executor_class, executor_class):
                del self._idle[slot_id]
                self._busy.add(slot_id)
                return link
        return None

    def _is_due(self, executor_class: str) -> bool:
        return any(
            _serves(name, executor_class) and slot_id not in self._busy and slot_id not in self._idle
            for slot_id, name in self.expected.items()
        )


def _serves(name: str, asked: str) -> bool:
    return name == asked or (name in CATALOGUE and CATALOGUE[name].serves(asked))
