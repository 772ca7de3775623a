"""Wakes whoever follows a job when its story has grown."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Watchers:
    """Followers by job uuid; they read the story from the store, so a missed wake-up loses nothing."""

    _following: defaultdict[str, set[asyncio.Event]] = field(default_factory=lambda: defaultdict(set))

    @contextmanager
    def following(self, uuid: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job moves."""
        grown = asyncio.Event()
        self._following[uuid].add(grown)
        try:
            yield grown
        finally:
            self._following[uuid].discard(grown)
            if not self._following[uuid]:
                del self._following[uuid]

    def wake(self, uuid: str) -> None:
        """The job has moved, and that is on disk."""
        for grown in self._following.get(uuid, ()):
            grown.set()
