"""Deletes what is kept of batches that were over long ago, in the store and outside it."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from horde_agents.agents.validator.synthetic.kinds import SyntheticKind
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.store import batches
from horde_agents.store.engine import Store

#: Jobs of one transaction: other writes wait no longer for it.
_AT_ONCE: Final = 200
_BATCHES_AT_ONCE: Final = 100
_PAUSE_S: Final = 600.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BatchRetention:
    """The loop; ``proven_batches`` is how many measured batches bound excuses: those stay in any case."""

    store: Store
    kinds: Collection[SyntheticKind]
    proven_batches: Callable[[], int]
    keep_s: float
    clean_s: float

    async def serve(self) -> NoReturn:
        """Every few minutes, for ever."""
        while True:
            await self.evict(now())
            await asyncio.sleep(_PAUSE_S)

    async def evict(self, at: datetime) -> int:
        """Delete what is too old now; how many batches went.

        Each kind cleans once more: it may have failed when the batch was over, and executors may have
        uploaded since. Where it fails again the batch stays as long again as it was to be kept.
        """
        before, at_last = at - timedelta(seconds=self.keep_s), at - timedelta(seconds=2 * self.keep_s)
        async with self.store.reading() as connection:
            kept = {batch.uuid for batch in await batches.last_measured(connection, self.proven_batches())}
            found = await batches.over_before(connection, before, _BATCHES_AT_ONCE + len(kept))
        gone = 0
        for batch in found:
            if batch.uuid in kept:
                continue
            is_clean = await clean(self.kinds, batch.uuid, self.clean_s)
            if is_clean or (batch.ended_at or at) < at_last:
                await self._delete(batch.uuid)
                gone += 1
        if gone:
            _log.info("old batches deleted", count=gone)
        return gone

    async def _delete(self, uuid: str) -> None:
        writer = self.store.writer
        while await writer.run(lambda connection: batches.evict_jobs(connection, uuid, _AT_ONCE)) == _AT_ONCE:
            pass
        await writer.run(lambda connection: batches.evict(connection, uuid))


async def clean(kinds: Collection[SyntheticKind], batch_uuid: str, limit_s: float) -> bool:
    """Let every kind remove what it left outside, ``limit_s`` each; whether all could."""
    is_clean = True
    for kind in {id(kind): kind for kind in kinds}.values():
        try:
            async with asyncio.timeout(limit_s):
                await kind.clean(batch_uuid)
        except Exception:  # noqa: BLE001  (a plug-in's own fault)
            _log.exception("a kind cannot clean up", kind=kind.name, batch=batch_uuid)
            is_clean = False
    return is_clean
