"""Writes what a batch has found: a verdict for each job, the excuses used, the batch's end."""

import asyncio
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

#: Verdicts written in one turn of the event loop; 2,048 take about a quarter of a second in all.
_STORED_AT_ONCE: Final = 64

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Results:
    """A batch as it has ended, and its jobs, all judged."""

    parts: Parts
    batch: Batch
    seats: Sequence[Seated]

    async def store(self, excuses: Collection[str]) -> None:
        """Write all verdicts and the batch's end in one transaction.

        A validator that is killed leaves all of it behind, or none: what was measured is never missing where
        verdicts count, and a batch that is not run after a restart has no verdict from before.
        """
        added = await self.parts.store.writer.run(partial(self._store_all, excuses))
        for verdict in added:
            work = verdict.work
            self.parts.metrics.synthetic_jobs.labels(work.executor_class, work.outcome.value).inc()
        outcomes = Counter(seated.judged.outcome.value for seated in self.seats)
        _log.info("batch over", batch=self.batch.uuid, **outcomes)

    async def _store_all(self, excuses: Collection[str], connection: AsyncConnection) -> list[Verdict]:
        added: list[Verdict] = []
        for first in range(0, len(self.seats), _STORED_AT_ONCE):
            seats = self.seats[first : first + _STORED_AT_ONCE]
            await batches.judge_all(connection, [self._judged(seated) for seated in seats])
            added += await verdicts.append_all(connection, [self._verdict(seated) for seated in seats])
            await asyncio.sleep(0)  # frames of users' jobs go on
        for job_uuid in sorted(excuses):
            await batches.use_excuse(connection, self.batch.uuid, job_uuid, "")
        await batches.move(connection, self.batch)
        return added

    def _judged(self, seated: Seated) -> tuple[str, str, str, int]:
        found = seated.judged
        return seated.attempt.key.uuid, found.outcome.value, found.why, seated.took_us

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
