"""Deletes receipts and page cursors that are older than the settings keep them, some at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.receipts.pages import PAGE_S
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.store import page_cursors, progress, receipts
from horde_agents.store.engine import Store

#: Rows of one transaction: other writes wait no longer for it.
_AT_ONCE: Final = 1000
_PAUSE_S: Final = 600.0
_Evict = Callable[[AsyncConnection, datetime, int], Awaitable[int]]
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """The loop."""

    store: Store
    keep_s: float

    async def serve(self) -> NoReturn:
        """Every few minutes, for ever."""
        while True:
            await self.evict(now())
            await asyncio.sleep(_PAUSE_S)

    async def evict(self, at: datetime) -> int:
        """Delete all that is too old now; how many receipts went. A published page goes as a whole."""
        page = int((at.timestamp() - self.keep_s) // PAGE_S)
        before = datetime.fromtimestamp(page * PAGE_S, UTC)
        gone = 0
        for evict in (receipts.evict, progress.evict):
            gone += await self._all(evict, before)
        await self.store.writer.run(lambda connection: page_cursors.evict(connection, page))
        if gone:
            _log.info("old receipts deleted", count=gone)
        return gone

    async def _all(self, evict: _Evict, before: datetime) -> int:
        gone = 0
        while True:
            count = await self.store.writer.run(lambda connection: evict(connection, before, _AT_ONCE))
            gone += count
            if count < _AT_ONCE:
                return gone
