"""Writes what a batch has found: a verdict for each job, the excuses used, the batch's end."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.synthetic.seated import US_PER_S, Seated
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.facts import MAX_RUN_US, Work
from horde_agents.store import batches, verdicts
from horde_agents.store.batches import Batch
from horde_agents.store.verdicts import Verdict

#: Verdicts in one transaction.
_STORED_AT_ONCE: Final = 64

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Results:
    """A batch as it has ended, and its jobs, all judged."""

    parts: Parts
    batch: Batch
    seats: Sequence[Seated]

    async def store(self, excuses: Collection[str]) -> None:
        """Write all verdicts, some at a time, so that users' jobs need not wait long for the disk."""
        for start in range(0, len(self.seats), _STORED_AT_ONCE):
            await self.parts.store.writer.run(partial(self._store_some, self.seats[start:][:_STORED_AT_ONCE]))

        async def unit(connection: AsyncConnection) -> None:
            for job_uuid in sorted(excuses):
                await batches.use_excuse(connection, self.batch.uuid, job_uuid, "")
            await batches.move(connection, self.batch)

        await self.parts.store.writer.run(unit)
        outcomes = Counter(seated.judged.outcome.value for seated in self.seats)
        _log.info("batch over", batch=self.batch.uuid, **outcomes)

    async def _store_some(self, seats: Sequence[Seated], connection: AsyncConnection) -> None:
        for seated in seats:
            await self._store_one(connection, seated)

    async def _store_one(self, connection: AsyncConnection, seated: Seated) -> None:
        found, uuid = seated.judged, seated.attempt.key.uuid
        await batches.judge(connection, uuid, found.outcome.value, found.why, seated.took_us)
        if await verdicts.append(connection, self._verdict(seated)):
            self.parts.metrics.synthetic_jobs.labels(seated.executor_class, found.outcome.value).inc()

    def _verdict(self, seated: Seated) -> Verdict:
        work = Work(
            attempt_uuid=seated.attempt.key.uuid,
            is_organic=False,
            batch_uuid=self.batch.uuid,
            miner_hotkey=seated.miner.hotkey,
            executor_class=seated.executor_class,
            user_hotkey="",
            outcome=seated.judged.outcome,
            run_us=min(seated.took_us, MAX_RUN_US),
            limit_us=seated.attempt.live.plan.limits.running_s * US_PER_S,
        )
        return Verdict(work, self.batch.uuid, self.batch.cycle, seated.judged.why, now())
