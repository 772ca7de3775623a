"""Runs one batch: offers to all its executors, fires at one instant, judges each job, stores it all."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any, Final
from uuid import uuid4

from horde_agents.agents.validator import offers, run_requests
from horde_agents.agents.validator.attempt import Attempt
from horde_agents.agents.validator.gate import Gate
from horde_agents.agents.validator.loop_lag import LoopLag
from horde_agents.agents.validator.miner_session import MinerSession
from horde_agents.agents.validator.parts import LiveJob, Parts
from horde_agents.agents.validator.reactions import is_busy
from horde_agents.agents.validator.routing import Miner
from horde_agents.agents.validator.synthetic.excusing import Excusing
from horde_agents.agents.validator.synthetic.judge import (
    Circumstances,
    early_finding,
    is_cut_off,
    is_store_down,
)
from horde_agents.agents.validator.synthetic.kinds import Finding, JobReport, SyntheticKind, Task
from horde_agents.agents.validator.synthetic.measured import seen_at_instant
from horde_agents.agents.validator.synthetic.proven import DETAIL, Proven
from horde_agents.agents.validator.synthetic.results import Results
from horde_agents.agents.validator.synthetic.seated import US_PER_S, Seated
from horde_agents.jobs.events import Finished, JobEvent
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.lifecycle import Job
from horde_agents.receipts.payloads import JobStarted
from horde_agents.runtime.clock import monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.facts import Outcome
from horde_agents.store import batches
from horde_agents.store.batches import Batch, BatchState

#: Where synthetic jobs come from, in the place of a facilitator's address.
SOURCE: Final = "synthetic"
#: Seconds on top of what an executor may take to be ready, for connections and signatures.
_STAGING_SPARE_S: Final = 5.0
#: Seconds that a payload may take to be written.
_WRITE_S: Final = 1.0
#: Answers looked at together; one that waits for its turn could still be changed by its executor.
_JUDGED_AT_ONCE: Final = 128
_FOUND: Final = frozenset({Outcome.PASSED, Outcome.FAILED, Outcome.NOT_RUN})

_log = get_logger(__name__)


@dataclass(slots=True)
class BatchRun:
    """A batch from its first offer to its last verdict.

    ``offered`` are executors by class, by miner, that could be tested, ``own_jobs`` the executors there that
    run jobs of this validator's own, which are not asked and count as there. ``share`` is the part of
    ``offered`` that is tested; ``proven`` bounds what excuses add.
    """

    parts: Parts
    batch: Batch
    offered: Mapping[str, Mapping[str, int]]
    own_jobs: Mapping[tuple[str, str], int]
    excusing: Excusing
    share: Fraction = Fraction(1)
    proven: Proven = field(default_factory=lambda: Proven({}))
    seats: list[Seated] = field(default_factory=list)
    gate: Gate = field(init=False)
    _lag: LoopLag = field(default_factory=LoopLag)
    _sent_s: dict[str, float] = field(default_factory=dict)
    _own_since: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.gate = Gate(monotonic_s())

    def seat(self, miner: Miner, executor_class: str, kind: SyntheticKind, task: Task) -> None:
        """Add one executor's job.

        Raises:
            Refused: the kind's request is no valid job request.
        """
        body = {**task.request, "executor_class": executor_class}
        request = run_requests.own_request(body, self.parts.signer)
        plan = offers.plan_of(request, self.parts.settings)
        live = LiveJob(request, plan, SOURCE, now(), Job(self.batch.uuid), miner.hotkey, gate=self.gate)
        key = offers.new_key(miner.hotkey)
        attempt = Attempt(self.parts, live, miner, key, Job(key.uuid), monotonic_s())
        attempt.may_retry = False
        session = MinerSession(self.parts, attempt)
        self.seats.append(Seated(miner, executor_class, kind, task, attempt, session))

    async def run(self) -> Batch:
        """Bring every job to its verdict; the batch as it has ended."""
        rows = [seated.row(self.batch.uuid) for seated in self.seats]
        await self.parts.store.writer.run(lambda connection: batches.add_jobs(connection, rows))
        staging_s = max((self._ready_s(seated) for seated in self.seats), default=0.0)
        self.gate.fires_by_s = monotonic_s() + staging_s + _STAGING_SPARE_S
        async with asyncio.TaskGroup() as judging:
            self._judge_when_over(judging)
            async with self._lag.watched(), asyncio.TaskGroup() as group:
                for seated in self.seats:
                    group.create_task(self._play(seated, staging_s - self._ready_s(seated)))
                await self._fire()
        await self._judge_all()
        ended = replace(self.batch, state=BatchState.ENDED, ended_at=now(), details=self._details())
        await Results(self.parts, ended, self.seats).store(self.excusing.used)
        return ended

    async def _play(self, seated: Seated, wait_s: float) -> None:
        """Offer late what is ready soon, so that no executor waits longer than its class may take."""
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        uuid = seated.attempt.key.uuid
        seated.attempt.deadline_s = monotonic_s() + self.parts.settings.connect_s
        self.parts.attempts_in_hand.add(uuid)
        try:
            await seated.session.run()
        except Exception as error:  # noqa: BLE001  (one job that breaks here must not take the others along)
            _log.exception("a synthetic job broke down", attempt=uuid)
            message = f"This validator broke down over the job: {type(error).__name__}."
            await seated.attempt.fail(HordeFaultReason.UNHANDLED_EXCEPTION, message)
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
        self._note_own_jobs()
        # stored first: what a validator that is killed now has perhaps sent counts as sent
        self.batch = replace(self.batch, state=BatchState.FIRED, fired_at=now())
        await self.parts.store.writer.run(lambda connection: batches.move(connection, self.batch))
        sessions = {seated.attempt.key.uuid: seated.session for seated in self.seats}
        with _undisturbed():
            for uuid, frame in self.gate.open(monotonic_s()).items():
                with suppress(TimeoutError):  # a peer that reads nothing holds up no other
                    async with asyncio.timeout(_WRITE_S):
                        if await sessions[uuid].send_payload(frame):
                            self._sent_s[uuid] = monotonic_s()
        _log.info("batch fired", batch=self.batch.uuid, executors=len(self._sent_s), of=len(self.seats))

    def _note_own_jobs(self) -> None:
        """Own jobs that have begun since the batch was put together: each explains one decline."""
        ours = Counter(
            seated.place for seated in self.seats if seated.attempt.is_offered and not seated.attempt.is_over
        )
        at = now()
        for hotkey, name in {seated.place for seated in self.seats}:
            busy = self.parts.occupancy.counts(name, at).get(hotkey, 0)
            more = busy - ours[hotkey, name] - self.own_jobs.get((hotkey, name), 0)
            self._own_since[hotkey, name] = max(more, 0)

    def _is_settled(self) -> bool:
        ready = self.gate.ready()
        return all(seated.attempt.is_over or seated.attempt.key.uuid in ready for seated in self.seats)

    def _judge_when_over(self, judging: asyncio.TaskGroup) -> None:
        """Have each answer looked at as its job ends: what an executor leaves elsewhere may change later."""
        turn = asyncio.Semaphore(_JUDGED_AT_ONCE)

        def look(seated: Seated) -> None:
            if self.gate.fired_at_s is not None and isinstance(seated.last_event, Finished):
                judging.create_task(self._judge(seated, turn))

        for seated in self.seats:
            seated.attempt.on_over = partial(look, seated)

    async def _judge_all(self) -> None:
        """Settle every job, one after another, as each excuse counts once."""
        ends: dict[str, list[JobEvent]] = {}
        for seated in self.seats:
            ends.setdefault(seated.miner.hotkey, []).append(seated.last_event)
        cut_off, store_down = is_cut_off(ends), is_store_down(ends)
        self._note_there()
        for seated in self.seats:
            around = await self._around(seated, cut_off=cut_off, store_down=store_down)
            seated.finding = early_finding(seated.last_event, around) or seated.answer
            await asyncio.sleep(0)  # a decline may show hundreds of receipts to read: users' jobs go on

    def _note_there(self) -> None:
        """Who is there without any excuse: executors that have answered, and those with own jobs."""
        for (hotkey, name), executors in self.own_jobs.items():
            self.proven.note(hotkey, name, executors)
        for seated in self.seats:
            if isinstance(seated.last_event, Finished):
                self.proven.note(*seated.place)

    async def _judge(self, seated: Seated, turn: asyncio.Semaphore) -> None:
        """Have the kind look at an answer; a plug-in's own fault is not the miner's."""
        last, limit_s = seated.last_event, self.parts.settings.synthetic_judge_s
        assert isinstance(last, Finished)
        report = JobReport(
            last.stdout or "",
            last.stderr or "",
            last.artifacts,
            seated.took_us,
            seated.executor_class,
            seated.miner.hotkey,
        )
        try:
            async with turn, asyncio.timeout(limit_s):
                found = await seated.kind.judge(seated.task, report)
        except TimeoutError:
            found = Finding(Outcome.NOT_RUN, f"the answer was not judged within {limit_s:g} s")
        except Exception as error:  # noqa: BLE001  (a plug-in that breaks is not the miner's fault)
            _log.exception("a kind cannot judge", kind=seated.kind.name)
            found = Finding(Outcome.NOT_RUN, f"the answer could not be judged: {error!r}")
        if found.outcome not in _FOUND:
            found = Finding(Outcome.NOT_RUN, f"kind {seated.kind.name} found {found.outcome}, as none may")
        seated.answer = found

    async def _around(self, seated: Seated, *, cut_off: bool, store_down: bool) -> Circumstances:
        attempt, key = seated.attempt, seated.place
        is_decline = is_busy(seated.last_event)
        explains = is_decline and self._own_since[key] > 0
        if explains:
            self._own_since[key] -= 1
        started = attempt.started.payload if attempt.started else None
        excuse = ""
        has_room = self.proven.leaves_room(*key)
        if is_decline and not explains and has_room and isinstance(started, JobStarted) and attempt.shown:
            excuse = await self.excusing.excuse(started, attempt.shown)
        if excuse or explains:
            self.proven.note(*key)
        sent_s = self._sent_s.get(attempt.key.uuid)
        return Circumstances(
            fired=sent_s is not None and attempt.over_at_s > sent_s,
            took_us=seated.took_us,
            limit_us=attempt.live.plan.limits.running_s * US_PER_S,
            lag_s=self._lag.most_s,
            most_lag_s=self.parts.settings.synthetic_lag_s,
            explains_decline=explains,
            excuse=f"busy with job {excuse} of another validator" if excuse else "",
            is_beyond_proven=not has_room and bool(attempt.shown),
            is_cut_off=cut_off,
            is_store_down=store_down,
        )

    def _details(self) -> dict[str, Any]:
        sent = sorted(self._sent_s.values())
        return {
            **self.batch.details,
            "measured": self._seen({Outcome.PASSED, Outcome.EXCUSED}),
            DETAIL: self._seen({Outcome.PASSED}),
            "share": str(self.share),
            "written_within_us": round((sent[-1] - sent[0]) * US_PER_S) if sent else 0,
            "lag_us": round(self._lag.most_s * US_PER_S),
        }

    def _seen(self, good: set[Outcome]) -> dict[str, dict[str, int]]:
        found = [(seated.place, seated.judged) for seated in self.seats]
        return seen_at_instant(self.offered, self.own_jobs, found, good)

    def _ready_s(self, seated: Seated) -> float:
        return seated.attempt.live.plan.ready_s


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No collection of garbage falls into the block."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def new_batch_uuid() -> str:
    """A name that was never used."""
    return str(uuid4())
