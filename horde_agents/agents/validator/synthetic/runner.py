"""Runs one batch: offers to all its executors, fires at one instant, judges each job, stores it all."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator import offers, run_requests
from horde_agents.agents.validator.attempt import Attempt
from horde_agents.agents.validator.gate import Gate
from horde_agents.agents.validator.loop_lag import LoopLag
from horde_agents.agents.validator.miner_session import MinerSession
from horde_agents.agents.validator.parts import LiveJob, Parts
from horde_agents.agents.validator.routing import Miner
from horde_agents.agents.validator.synthetic.excusing import Excusing
from horde_agents.agents.validator.synthetic.judge import Circumstances, early_finding
from horde_agents.agents.validator.synthetic.kinds import Finding, JobReport, SyntheticKind, Task
from horde_agents.agents.validator.synthetic.plan import estimated
from horde_agents.jobs.events import Finished
from horde_agents.jobs.lifecycle import Job
from horde_agents.receipts.payloads import JobStarted
from horde_agents.runtime.clock import monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.facts import MAX_RUN_US, Outcome, Work
from horde_agents.store import batches, verdicts
from horde_agents.store.batches import Batch, BatchJob, BatchState
from horde_agents.store.verdicts import Verdict

#: Where synthetic jobs come from, in the place of a facilitator's address.
SOURCE: Final = "synthetic"
#: Seconds on top of what an executor may take to be ready, for connections and signatures.
_STAGING_SPARE_S: Final = 5.0
#: By how much this validator's loop may be late before its measurements count for nothing.
_MOST_LAG_S: Final = 1.0
_US_PER_S: Final = 1_000_000

_log = get_logger(__name__)


@dataclass(slots=True)
class Seated:
    """One executor's job of the batch."""

    miner: Miner
    executor_class: str
    kind: SyntheticKind
    task: Task
    attempt: Attempt
    session: MinerSession
    finding: Finding | None = None

    @property
    def took_us(self) -> int:
        """From the batch's instant to the last report; 0 where there was no instant."""
        gate = self.attempt.live.gate
        if gate is None or gate.fired_at_s is None or not self.attempt.is_over:
            return 0
        return max(round((self.attempt.over_at_s - gate.fired_at_s) * _US_PER_S), 0)


@dataclass(slots=True)
class BatchRun:
    """A batch from its first offer to its last verdict.

    ``offered`` are executors by class, by miner, that could be tested, ``own_jobs`` the executors there that
    run jobs of this validator's own.
    """

    parts: Parts
    batch: Batch
    offered: Mapping[str, Mapping[str, int]]
    own_jobs: Mapping[tuple[str, str], int]
    excusing: Excusing
    seats: list[Seated] = field(default_factory=list)
    gate: Gate = field(init=False)
    _lag: LoopLag = field(default_factory=LoopLag)

    def __post_init__(self) -> None:
        self.gate = Gate(monotonic_s())

    def seat(self, miner: Miner, executor_class: str, kind: SyntheticKind, task: Task) -> None:
        """Add one executor's job."""
        request = run_requests.own_request(task.request, self.parts.signer)
        plan = offers.plan_of(request, self.parts.settings)
        live = LiveJob(request, plan, SOURCE, now(), Job(self.batch.uuid), miner.hotkey, gate=self.gate)
        key = offers.new_key(miner.hotkey)
        attempt = Attempt(self.parts, live, miner, key, Job(key.uuid), monotonic_s())
        attempt.may_retry = False
        session = MinerSession(self.parts, attempt)
        self.seats.append(Seated(miner, executor_class, kind, task, attempt, session))

    async def run(self) -> Batch:
        """Bring every job to its verdict; the batch as it has ended."""
        await self.parts.store.writer.run(lambda connection: batches.add_jobs(connection, self._rows()))
        staging_s = max((self._ready_s(seated) for seated in self.seats), default=0.0)
        self.gate.fires_by_s = monotonic_s() + staging_s + _STAGING_SPARE_S
        async with self._lag.watched(), asyncio.TaskGroup() as group:
            for seated in self.seats:
                group.create_task(self._play(seated, staging_s - self._ready_s(seated)))
            await self._fire()
        for seated in self.seats:
            seated.finding = await self._judged(seated)
        return await self._store()

    async def _play(self, seated: Seated, wait_s: float) -> None:
        """Offer late what is ready soon, so that no executor waits longer than its class may take."""
        await asyncio.sleep(wait_s)
        uuid = seated.attempt.key.uuid
        seated.attempt.deadline_s = monotonic_s() + self.parts.settings.connect_s
        self.parts.attempts_in_hand.add(uuid)
        try:
            await seated.session.run()
        finally:
            self.parts.attempts_in_hand.discard(uuid)
            self.parts.occupancy.free(seated.miner.hotkey, uuid)
            self.gate.changed.set()

    async def _fire(self) -> None:
        """Send all payloads at one instant, once every executor is ready or has failed to be."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.gate.fires_by_s - monotonic_s()):
                while not self._is_settled():
                    await self.gate.changed.wait()
                    self.gate.changed.clear()
        sessions = {seated.attempt.key.uuid: seated.session for seated in self.seats}
        fired_at = now()
        frames = self.gate.open(monotonic_s())
        for uuid, frame in frames.items():
            await sessions[uuid].send_payload(frame)
        self.batch = replace(self.batch, state=BatchState.FIRED, fired_at=fired_at)
        await self.parts.store.writer.run(lambda connection: batches.move(connection, self.batch))
        _log.info("batch fired", batch=self.batch.uuid, executors=len(frames), of=len(self.seats))

    def _is_settled(self) -> bool:
        ready = self.gate.ready()
        return all(seated.attempt.is_over or seated.attempt.key.uuid in ready for seated in self.seats)

    async def _judged(self, seated: Seated) -> Finding:
        attempt = seated.attempt
        last = attempt.record.history[-1]
        found = early_finding(last, self._around(seated))
        if found is not None or not isinstance(last, Finished):
            return found or Finding(Outcome.FAILED, "no answer")
        report = JobReport(
            last.stdout or "",
            last.stderr or "",
            last.artifacts,
            seated.took_us,
            seated.executor_class,
            seated.miner.hotkey,
        )
        try:
            return await seated.kind.judge(seated.task, report)
        except Exception as error:  # noqa: BLE001  (a plug-in that breaks is not the miner's fault)
            _log.exception("a kind cannot judge", kind=seated.kind.name)
            return Finding(Outcome.NOT_RUN, f"the answer could not be judged: {error!r}")

    def _around(self, seated: Seated) -> Circumstances:
        attempt = seated.attempt
        started = attempt.started.payload if attempt.started else None
        excuse = ""
        if isinstance(started, JobStarted) and attempt.shown:
            excuse = self.excusing.excuse(started, attempt.shown)
        return Circumstances(
            fired=attempt.ran_from_s is not None,
            took_us=seated.took_us,
            limit_us=attempt.live.plan.limits.running_s * _US_PER_S,
            lag_s=self._lag.most_s,
            most_lag_s=_MOST_LAG_S,
            own_jobs_there=self.own_jobs.get((seated.miner.hotkey, seated.executor_class), 0),
            excuse=f"busy with job {excuse} of another validator" if excuse else "",
        )

    async def _store(self) -> Batch:
        ended = replace(
            self.batch, state=BatchState.ENDED, ended_at=now(), details={"measured": self._measured()}
        )

        async def unit(connection: AsyncConnection) -> None:
            for seated in self.seats:
                await self._store_one(connection, seated)
            for job_uuid in sorted(self.excusing.used):
                await batches.use_excuse(connection, ended.uuid, job_uuid, "")
            await batches.move(connection, ended)

        await self.parts.store.writer.run(unit)
        outcomes = Counter(seated.finding.outcome.value for seated in self.seats if seated.finding)
        _log.info("batch over", batch=ended.uuid, **outcomes)
        return ended

    async def _store_one(self, connection: AsyncConnection, seated: Seated) -> None:
        finding, attempt = seated.finding, seated.attempt
        assert finding is not None
        uuid = attempt.key.uuid
        await batches.judge(connection, uuid, finding.outcome.value, finding.why, seated.took_us)
        await verdicts.append(connection, self._verdict(seated, finding))

    def _verdict(self, seated: Seated, finding: Finding) -> Verdict:
        work = Work(
            attempt_uuid=seated.attempt.key.uuid,
            is_organic=False,
            batch_uuid=self.batch.uuid,
            miner_hotkey=seated.miner.hotkey,
            executor_class=seated.executor_class,
            user_hotkey="",
            outcome=finding.outcome,
            run_us=min(seated.took_us, MAX_RUN_US),
            limit_us=seated.attempt.live.plan.limits.running_s * _US_PER_S,
        )
        return Verdict(work, self.batch.uuid, self.batch.cycle, finding.why, now())

    def _measured(self) -> dict[str, dict[str, int]]:
        """Executors that each miner has been seen to have: those that passed or were excused.

        Where only some were tested, the others are taken to be like them.
        """
        tested: Counter[tuple[str, str]] = Counter()
        good: Counter[tuple[str, str]] = Counter()
        for seated in self.seats:
            key = (seated.miner.hotkey, seated.executor_class)
            assert seated.finding is not None
            if seated.finding.outcome is not Outcome.NOT_RUN:
                tested[key] += 1
            if seated.finding.outcome in {Outcome.PASSED, Outcome.EXCUSED}:
                good[key] += 1
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for miner, classes in self.offered.items():
            counts[miner] = {
                name: estimated(good[miner, name], tested[miner, name], count)
                for name, count in classes.items()
            }
        return dict(counts)

    def _ready_s(self, seated: Seated) -> float:
        return seated.attempt.live.plan.ready_s

    def _rows(self) -> Sequence[BatchJob]:
        return [
            BatchJob(
                seated.attempt.key.uuid,
                self.batch.uuid,
                seated.kind.name,
                seated.miner.hotkey,
                seated.executor_class,
                _plain(seated.task),
            )
            for seated in self.seats
        ]


def new_batch_uuid() -> str:
    """A name that was never used."""
    return str(uuid4())


def _plain(task: Task) -> dict[str, Any]:
    return {name: dict(value) for name, value in asdict(task).items()}
