"""Hands what happens to a job to whoever follows it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from horde_agents.store.stories import Told


@dataclass(slots=True)
class Watchers:
    """Followers by job uuid. What another process stored does not come this way: followers look at the
    store from time to time, and when a sequence number is missing."""

    _following: defaultdict[str, set["asyncio.Queue[Told]"]] = field(default_factory=lambda: defaultdict(set))

    @contextmanager
    def following(self, uuid: str) -> Iterator["asyncio.Queue[Told]"]:
        """Everything that is told of the job while the block lasts."""
        news: asyncio.Queue[Told] = asyncio.Queue()
        self._following[uuid].add(news)
        try:
            yield news
        finally:
            self._following[uuid].discard(news)
            if not self._following[uuid]:
                del self._following[uuid]

    def tell(self, uuid: str, told: Told) -> None:
        """The job has moved, and that is on disk."""
        for news in self._following.get(uuid, ()):
            news.put_nowait(told)
