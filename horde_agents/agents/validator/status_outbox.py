"""Status updates on their way to one facilitator: in order, kept until answered, mirrored in the store."""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Gauge

from horde_agents.runtime.clock import monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.store import outbox
from horde_agents.store.engine import Store
from horde_agents.store.outbox import Kept
from horde_agents.store.writer import StoreStopped

#: Answered messages are taken out of the store together, this long after the first of them.
_FORGET_AFTER_S: Final = 0.2

_log = get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    text: str
    subject_uuid: str
    row: "asyncio.Future[Kept | None]"


@dataclass(slots=True)
class StatusOutbox:
    """One facilitator's updates; a new connection begins again with the first unanswered one."""

    peer: str
    _store: Store
    _length: Gauge
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _sent: int = 0
    _answered_id: int = 0
    _forgetting: asyncio.TimerHandle | None = None
    _asked_at_s: float = 0.0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _empty: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_empty(self) -> None:
        """Wait until everything posted has been answered."""
        while self._waiting:
            self._empty.clear()
            await self._empty.wait()

    async def load(self) -> None:
        """Take up what an earlier process left unanswered."""
        async with self._store.reading() as connection:
            self.post_stored(await outbox.waiting(connection, self.peer))

    def post_stored(self, messages: Iterable[Kept]) -> None:
        """Send messages that are in the store already."""
        for kept in messages:
            row: asyncio.Future[Kept | None] = asyncio.get_running_loop().create_future()
            row.set_result(kept)
            self.post(kept.message_json, kept.subject_uuid, row)

    async def keep_and_post(self, text: str, subject_uuid: str) -> None:
        """Store an update that belongs to no stored job, then send it."""
        at = now()
        kept = await self._store.writer.run(
            lambda connection: outbox.keep(connection, self.peer, subject_uuid, text, at)
        )
        self.post_stored([kept])

    def post(self, text: str, subject_uuid: str, row: "asyncio.Future[Kept | None]") -> None:
        """Send ``text`` after all before it; ``row`` becomes its stored copy."""
        row.add_done_callback(_log_failure)
        self._waiting.append(_Waiting(text, subject_uuid, row))
        self._length.inc()
        self._news.set()

    def begin_connection(self) -> None:
        """Everything unanswered is to be sent again."""
        self._sent = 0
        self._news.set()

    async def next_text(self) -> str:
        """The next update to write to the connection; waits until there is one."""
        while self._sent >= len(self._waiting):
            self._news.clear()
            await self._news.wait()
        if self._sent == 0:
            self._asked_at_s = monotonic_s()
        waiting = self._waiting[self._sent]
        self._sent += 1
        return waiting.text

    def answered(self) -> str | None:
        """The oldest sent update has its Response; its job's uuid, or ``None`` when none was sent."""
        if self._sent == 0:
            return None
        first = self._waiting.popleft()
        self._sent -= 1
        self._asked_at_s = monotonic_s()
        self._length.dec()
        first.row.add_done_callback(self._forget)
        if not self._waiting:
            self._empty.set()
        return first.subject_uuid

    def unanswered_for_s(self) -> float:
        """How long the oldest sent update has been waiting for its Response."""
        return monotonic_s() - self._asked_at_s if self._sent else 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def _forget(self, row: "asyncio.Future[Kept | None]") -> None:
        if row.cancelled() or row.exception() is not None:
            return
        kept = row.result()
        if kept is None:
            return
        self._answered_id = max(self._answered_id, kept.id)
        if self._forgetting is None:
            self._forgetting = asyncio.get_running_loop().call_later(_FORGET_AFTER_S, self.forget_answered)

    def forget_answered(self) -> None:
        """Take everything answered out of the store; a restart before that sends it once more."""
        if self._forgetting is None:
            return
        self._forgetting.cancel()
        self._forgetting, through = None, self._answered_id
        with suppress(StoreStopped):
            self._store.writer.behind(lambda connection: outbox.drop_through(connection, self.peer, through))


def _log_failure(done: "asyncio.Future[Kept | None] | asyncio.Future[None]") -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        _log.error("write behind failed; the next report repairs it", why=str(error))
