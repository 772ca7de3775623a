"""Plans each cycle's batch and challenges, runs them when their instants come, and takes up broken ones."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator import offers
from horde_agents.agents.validator.cycle_clock import CycleClock, Snapshot
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.polls import Polls
from horde_agents.agents.validator.synthetic.excusing import Excusing
from horde_agents.agents.validator.synthetic.kinds import KindNotReady, SyntheticKind, Task, kinds_apart
from horde_agents.agents.validator.synthetic.plan import (
    batch_block,
    bounded_share,
    challenge_blocks,
    sampled,
    shuffled,
    tested_share,
)
from horde_agents.agents.validator.synthetic.proven import Proven
from horde_agents.agents.validator.synthetic.retention import clean
from horde_agents.agents.validator.synthetic.runner import BatchRun, new_batch_uuid
from horde_agents.agents.validator.synthetic.timing import Timing
from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import Role
from horde_agents.protocol.rest_api import Refused
from horde_agents.protocol.signing import Hotkey
from horde_agents.receipts.payloads import JobStarted
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.settings import SettingsWrong
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.cycles import Cycle, seats
from horde_agents.scoring.facts import Outcome, Work
from horde_agents.store import attempts, batches, receipts, verdicts
from horde_agents.store.batches import Batch, BatchJob, BatchState, Purpose
from horde_agents.store.verdicts import Verdict

#: Seconds that a kind has to make its tasks even where none are planned for it.
_LEAST_PREPARE_S: Final = 5.0

_log = get_logger(__name__)


@dataclass(slots=True)
class Synthetic:
    """The loop; ``kinds`` by executor class."""

    parts: Parts
    clock: CycleClock
    polls: Polls
    configuration: Callable[[], Configuration]
    kinds: Mapping[str, SyntheticKind]
    block_s: float
    _planned: set[int] = field(default_factory=set)
    _not_planned: str = ""
    _not_made: tuple[str, ...] = ()

    @property
    def trouble(self) -> str:
        """Why the newest batch was not planned or run, or not with all kinds; empty when all is well."""
        return "; ".join(why for why in (self._not_planned, *self._not_made) if why)

    async def serve(self) -> NoReturn:
        """Plan and run for ever."""
        await self._take_up()
        while True:
            await self._plan_cycle()
            due = await self._next()
            block = self.clock.block() or 0
            pace = self._timing.pace
            if due is None or block < due.fire_block - pace.before_blocks:
                await self.clock.until_block(block + 1)
                continue
            if block > due.fire_block:
                await self._not_run(due, "this validator was away at its instant")
            elif block > due.fire_block - pace.making_blocks:
                await self._not_run(due, "this validator was away when its tasks were to be made")
            else:
                await self._run(due)
            await self._clean(due)

    def check(self) -> None:
        """Refuse settings with which no batch could ever run.

        Raises:
            SettingsWrong: a batch takes longer than a cycle.
        """
        why = self._timing.why_never(self.parts.settings.cycle_blocks)
        if why is not None:
            raise SettingsWrong(why)

    @property
    def _timing(self) -> Timing:
        return Timing(self.parts.settings, self.kinds, self.block_s)

    async def _plan_cycle(self) -> None:
        cycle = self.clock.cycle()
        snapshot = self.clock.snapshot(cycle.number) if cycle else None
        if cycle is None or snapshot is None or cycle.number in self._planned:
            return
        async with self.parts.store.reading() as connection:
            known = await batches.of_cycle(connection, cycle.number)
        if not known:
            planned = self._drawn(cycle, snapshot)
            await self.parts.store.writer.run(lambda connection: batches.plan(connection, planned))
        self._planned.add(cycle.number)

    def _drawn(self, cycle: Cycle, snapshot: Snapshot) -> list[Batch]:
        """The instants of a cycle; nobody but this validator knows them."""
        hotkey, pace, at_block = self.parts.signer.hotkey, self._timing.pace, self.clock.block() or 0
        own = [
            seat for seat in seats(snapshot.validators, snapshot.seed.hex(), cycle) if seat.hotkey == hotkey
        ]
        self._not_planned = (
            "" if own else f"cycle {cycle.number} has no seat for this validator: is its permit gone?"
        )
        if not own:
            _log.warning("no batch", why=self._not_planned)
            return []
        block = batch_block(own[0], pace, at_block, self.parts.rng)
        if block is None:
            self._not_planned = self._timing.why_not_in(own[0])
            _log.warning("no batch", why=self._not_planned, cycle=cycle.number)
        wanted = self.configuration().single_challenges_per_cycle
        singles = challenge_blocks(cycle, block, pace, at_block, wanted, self.parts.rng)
        planned = [self._batch(cycle, Purpose.CHALLENGE, single) for single in singles]
        return planned if block is None else [self._batch(cycle, Purpose.BATCH, block), *planned]

    def _batch(self, cycle: Cycle, purpose: Purpose, block: int) -> Batch:
        return Batch(new_batch_uuid(), cycle.number, purpose, block, now())

    async def _next(self) -> Batch | None:
        async with self.parts.store.reading() as connection:
            waiting = await batches.unfinished(connection)
        return next((batch for batch in waiting if batch.state is BatchState.PLANNED), None)

    async def _run(self, batch: Batch) -> None:
        self._not_made = ()
        trouble = self.clock.why_not_ready()
        if trouble is not None:
            await self._not_run(batch, trouble)
            return
        asked_at = now()
        miners = self.parts.directory.miners()
        self.parts.rng.shuffle(miners)
        await self.polls.ask(miners)
        run = await self._empty_run(batch)
        await self._seat(run)
        if not run.seats:
            why = "; ".join(self._not_made) or "no miner offers an executor that could be tested"
            await self._not_run(batch, why)
            return
        await self.clock.until_block(batch.fire_block - self._timing.staging_blocks)
        if batch.purpose is Purpose.BATCH:
            told = self.parts.manifests.told_since(asked_at)
            reached = sum(miner.hotkey in told for miner in miners)
            self.parts.metrics.batch_coverage.set(reached / len(miners))
            details = {**batch.details, "eligible_miners": len(miners), "challenged_miners": reached}
            run.batch = replace(batch, details=details)
        await run.run()

    async def _clean(self, batch: Batch) -> None:
        await clean(self.kinds.values(), batch.uuid, self.parts.settings.synthetic_judge_s)

    async def _empty_run(self, batch: Batch) -> BatchRun:
        async with self.parts.store.reading() as connection:
            earlier = await batches.last_measured(connection, self.configuration().excuse_proven_batches)
        snapshot = self.clock.snapshot(batch.cycle)
        coldkey_of = {fact.hotkey: fact.coldkey for fact in snapshot.neurons} if snapshot else {}
        proven = Proven.of(coldkey_of, (known.details for known in earlier))
        offered, own_jobs = self._offered()
        excusing = Excusing(self.parts, offered, self.configuration().excuse_minimum_stake_tao)
        share = self._share(batch, offered)
        return BatchRun(self.parts, batch, offered, own_jobs, excusing, share, proven)

    async def _seat(self, run: BatchRun) -> None:
        """Give the run its jobs, as far as there are tasks; ``trouble`` says which there are not."""
        chosen = self._chosen(run)
        tasks = await self._tasks(Counter(name for _, name in chosen), run.batch)
        for hotkey, name in chosen:
            miner = self.parts.directory.find(hotkey)
            if miner is None or not tasks.get(name):
                continue
            try:
                run.seat(miner, name, self.kinds[name], tasks[name].pop())
            except Refused as error:
                self._untested(self.kinds[name], f"its request is no job: {error}")

    async def _tasks(self, wanted: Mapping[str, int], batch: Batch) -> dict[str, list[Task]]:
        """Tasks by class; a kind is asked once for all its classes."""
        tasks: dict[str, list[Task]] = {}
        for kind, names in kinds_apart(self.kinds):
            counts = {name: wanted[name] for name in names if name in wanted}
            if not counts:
                continue
            least_s = max(self.parts.settings.synthetic_prepare_s, _LEAST_PREPARE_S)
            try:
                async with asyncio.timeout(max(kind.needs(names).prepare_s, least_s)):
                    made = await kind.prepare(counts, batch.uuid)
            except KindNotReady as error:
                self._untested(kind, str(error))
            except TimeoutError:
                self._untested(kind, "its tasks were not made in time; see the setting synthetic_prepare_s")
            except Exception as error:  # noqa: BLE001  (a plug-in's own fault ends no loop)
                _log.exception("a kind cannot make tasks", kind=kind.name)
                self._untested(kind, f"it broke down: {error!r}")
            else:
                tasks |= {name: list(made.get(name, ())) for name in counts}
        return tasks

    def _untested(self, kind: SyntheticKind, why: str) -> None:
        self._not_made = tuple(dict.fromkeys([*self._not_made, f"kind {kind.name} tests nothing: {why}"]))
        _log.warning("a kind tests nothing", kind=kind.name, why=why)

    def _offered(self) -> tuple[dict[str, dict[str, int]], dict[tuple[str, str], int]]:
        """Executors that miners offer and no job of ours occupies, and how many are so occupied."""
        at, limits = now(), self.configuration().max_executors_per_class
        offered: dict[str, dict[str, int]] = {}
        own: dict[tuple[str, str], int] = {}
        known = {miner.hotkey for miner in self.parts.directory.miners()}
        for hotkey, counts in self.parts.manifests.counts().items():
            for name in (name for name in counts if name in self.kinds and hotkey in known):
                busy = self.parts.occupancy.counts(name, at).get(hotkey, 0)
                count = min(counts[name], limits.get(name, counts[name]))
                own[hotkey, name] = busy
                offered.setdefault(hotkey, {})[name] = max(count - busy, 0)
        return offered, own

    def _chosen(self, run: BatchRun) -> list[tuple[str, str]]:
        rng = self.parts.rng
        if run.batch.purpose is Purpose.CHALLENGE:
            return shuffled(run.offered, rng)[:1]
        return shuffled(sampled(run.offered, run.share), rng)

    def _share(self, batch: Batch, offered: Mapping[str, Mapping[str, int]]) -> Fraction:
        """The part of the horde to test, so that synthetic work keeps to its share of all slots' time."""
        snapshot = self.clock.snapshot(batch.cycle)
        cycle = self.clock.at(batch.cycle)
        share = tested_share(
            Fraction(self.configuration().synthetic_share),
            cycle.length_blocks * self.block_s,
            len(seats(snapshot.validators, snapshot.seed.hex(), cycle)) if snapshot else 1,
            self._timing.job_s,
        )
        return bounded_share(offered, share, self.parts.settings.synthetic_most_jobs)

    async def _take_up(self) -> None:
        """End what an earlier process had begun; nothing of it counts against a miner.

        A batch that had fired is over. One that had only been offered has its first jobs taken back and is
        run as planned, if there is time; executors that those jobs still occupy are known to be ours.
        """
        why = "this validator was restarted in the middle of the batch"
        async with self.parts.store.reading() as connection:
            for batch in await batches.unfinished(connection):
                for job in await batches.jobs_of(connection, batch.uuid):
                    for receipt in await receipts.of_job(connection, job.attempt_uuid):
                        self.parts.occupancy.note(receipt.payload)
            begun = await batches.unfinished(connection)
        for batch in begun:
            if batch.state is BatchState.FIRED:
                await self._not_run(batch, why)
                await self._clean(batch)
            else:
                await self.parts.store.writer.run(partial(self._abandon_jobs, batch, why))

    async def _not_run(self, batch: Batch, why: str) -> None:
        _log.warning("batch not run", batch=batch.uuid, cycle=batch.cycle, why=why)
        self._not_made = (f"the last one of cycle {batch.cycle} was not run: {why}",)
        over = replace(batch, state=BatchState.NOT_RUN, ended_at=now(), details={"why": why})

        async def unit(connection: AsyncConnection) -> None:
            await self._abandon_jobs(over, why, connection)
            await batches.move(connection, over)

        await self.parts.store.writer.run(unit)

    async def _abandon_jobs(self, batch: Batch, why: str, connection: AsyncConnection) -> None:
        for job in await batches.jobs_of(connection, batch.uuid):
            if not job.outcome:
                await _abandon(connection, batch, job, why)
                await self._close_receipts(connection, job)

    async def _close_receipts(self, connection: AsyncConnection, job: BatchJob) -> None:
        """The miner gets a finished receipt for what it had started, worth nothing, with the next poll."""
        at, signer = now(), self.parts.signer
        for receipt in await receipts.of_job(connection, job.attempt_uuid):
            if isinstance(receipt.payload, JobStarted):
                key = offers.AttemptKey(job.attempt_uuid, Hotkey(job.miner_hotkey))
                closing = offers.finished_receipt(key, 0, receipt.payload.timestamp, signer, at)
                await receipts.file(connection, closing, at)


async def _abandon(connection: AsyncConnection, batch: Batch, job: BatchJob, why: str) -> None:
    ended_at = now()
    await batches.judge(connection, job.attempt_uuid, Outcome.NOT_RUN.value, why, 0)
    work = Work(
        attempt_uuid=job.attempt_uuid,
        is_organic=False,
        batch_uuid=batch.uuid,
        miner_hotkey=job.miner_hotkey,
        executor_class=job.executor_class,
        user_hotkey="",
        outcome=Outcome.NOT_RUN,
        run_us=0,
        limit_us=0,
    )
    await verdicts.append(connection, Verdict(work, batch.uuid, batch.cycle, why, ended_at))
    if await attempts.load(connection, job.attempt_uuid) is not None:
        event = HordeFailed(Role.VALIDATOR, HordeFaultReason.UNHANDLED_EXCEPTION, why)
        await attempts.record(connection, job.attempt_uuid, event, ended_at)
