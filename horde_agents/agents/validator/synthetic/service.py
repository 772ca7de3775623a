"""Plans each cycle's batch and challenges, runs them when their instants come, and takes up broken ones."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.cycle_clock import CycleClock, Snapshot
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.polls import Polls
from horde_agents.agents.validator.synthetic.excusing import Excusing
from horde_agents.agents.validator.synthetic.kinds import KindNotReady, SyntheticKind, Task
from horde_agents.agents.validator.synthetic.plan import (
    Pace,
    batch_block,
    challenge_blocks,
    sampled,
    shuffled,
    tested_share,
)
from horde_agents.agents.validator.synthetic.runner import BatchRun, new_batch_uuid
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import Role
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.cycles import Cycle, seats
from horde_agents.scoring.facts import Outcome, Work
from horde_agents.store import attempts, batches, verdicts
from horde_agents.store.batches import Batch, BatchJob, BatchState, Purpose
from horde_agents.store.verdicts import Verdict

#: Seconds of a synthetic job's running time that a plan reckons with, leeway included.
_RUNNING_S: Final = 15.0
#: Seconds for connections, signatures and judging.
_SPARE_S: Final = 3.0

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
    trouble: str = ""
    _planned: set[int] = field(default_factory=set)

    async def serve(self) -> NoReturn:
        """Plan and run for ever."""
        await self._take_up()
        while True:
            await self._plan_cycle()
            due = await self._next()
            block = self.clock.block() or 0
            if due is None or block < due.fire_block - self._pace().before_blocks:
                await self.clock.until_block(block + 1)
            elif block > due.fire_block:
                await self._not_run(due, "this validator was away at its instant")
            else:
                await self._run(due)

    def _pace(self) -> Pace:
        ready_s = max((self._ready_s(name) for name in self.kinds), default=0.0)
        return Pace(
            math.ceil((ready_s + _SPARE_S) / self.block_s), math.ceil((_RUNNING_S + _SPARE_S) / self.block_s)
        )

    def _ready_s(self, executor_class: str) -> float:
        return CATALOGUE[executor_class].spin_up_s + self.parts.settings.startup_s

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
        hotkey, pace, at_block = self.parts.signer.hotkey, self._pace(), self.clock.block() or 0
        own = [
            seat for seat in seats(snapshot.validators, snapshot.seed.hex(), cycle) if seat.hotkey == hotkey
        ]
        self.trouble = (
            "" if own else f"cycle {cycle.number} has no seat for this validator: is its permit gone?"
        )
        if not own:
            _log.warning("no batch", why=self.trouble)
            return []
        block = batch_block(own[0], pace, at_block, self.parts.rng)
        if block is None:
            _log.warning("no batch", why="what is left of its seat is too short", cycle=cycle.number)
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
        trouble = self.clock.why_not_ready()
        if trouble is not None:
            await self._not_run(batch, trouble)
            return
        await self.polls.ask(self.parts.directory.miners())
        run = await self._seated(batch)
        if not run.seats:
            await self._not_run(batch, "no miner offers an executor that could be tested")
            return
        await run.run()
        for kind in {id(kind): kind for kind in self.kinds.values()}.values():
            await kind.clean(batch.uuid)

    async def _seated(self, batch: Batch) -> BatchRun:
        offered, own_jobs = self._offered()
        excusing = Excusing(self.parts, offered, self.configuration().excuse_minimum_stake_tao)
        run = BatchRun(self.parts, batch, offered, own_jobs, excusing)
        chosen = self._chosen(batch, offered)
        wanted: dict[str, int] = {}
        for _, name in chosen:
            wanted[name] = wanted.get(name, 0) + 1
        tasks = {name: await self._tasks(name, count, batch) for name, count in sorted(wanted.items())}
        for hotkey, name in chosen:
            miner = self.parts.directory.find(hotkey)
            if miner is not None and tasks[name]:
                run.seat(miner, name, self.kinds[name], tasks[name].pop())
        return run

    async def _tasks(self, name: str, count: int, batch: Batch) -> list[Task]:
        try:
            return list((await self.kinds[name].prepare({name: count}, batch.uuid))[name])
        except KindNotReady as error:
            _log.warning("a class is not tested", executor_class=name, why=str(error))
            return []

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

    def _chosen(self, batch: Batch, offered: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
        rng = self.parts.rng
        if batch.purpose is Purpose.CHALLENGE:
            return shuffled(offered, rng)[:1]
        job_s = max((self._ready_s(name) for name in self.kinds), default=0.0) + _RUNNING_S
        snapshot = self.clock.snapshot(batch.cycle)
        cycle = self.clock.at(batch.cycle)
        share = tested_share(
            Fraction(self.configuration().synthetic_share),
            cycle.length_blocks * self.block_s,
            len(seats(snapshot.validators, snapshot.seed.hex(), cycle)) if snapshot else 1,
            job_s,
        )
        return shuffled(sampled(offered, share, rng), rng)

    async def _take_up(self) -> None:
        """End what an earlier process has left fired; nothing of it counts against a miner."""
        async with self.parts.store.reading() as connection:
            fired = [
                batch for batch in await batches.unfinished(connection) if batch.state is BatchState.FIRED
            ]
        for batch in fired:
            await self._not_run(batch, "this validator was restarted in the middle of the batch")

    async def _not_run(self, batch: Batch, why: str) -> None:
        _log.warning("batch not run", batch=batch.uuid, cycle=batch.cycle, why=why)
        over = replace(batch, state=BatchState.NOT_RUN, ended_at=now(), details={"why": why})

        async def unit(connection: AsyncConnection) -> None:
            for job in await batches.jobs_of(connection, batch.uuid):
                if not job.outcome:
                    await _abandon(connection, over, job, why)
            await batches.move(connection, over)

        await self.parts.store.writer.run(unit)


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
