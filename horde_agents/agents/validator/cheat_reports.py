"""Takes users' reports of miners that cheated: verified, followed up by reruns, judged; only then a bar.

A report alone changes nothing. The reported job is run again: twice at the trusted miner where there is one,
else at two other miners; whoever differs from two runs that agree is barred. A wrong report counts against
its signatory, and nobody makes us run jobs without end.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NoReturn
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator import records
from horde_agents.agents.validator.cross_validation import evidence_of
from horde_agents.agents.validator.finding import Finding
from horde_agents.agents.validator.intake import why_not_trusted
from horde_agents.agents.validator.judging import Output, Ruling, has_output, report_ruling
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.reruns import Reruns
from horde_agents.jobs.events import Finished
from horde_agents.jobs.states import JobState
from horde_agents.protocol.facilitator_validator import V0JobCheated, V2JobRequest
from horde_agents.protocol.signed_fields import Scope, full_request_payload, stock_cheat_payload
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY
from horde_agents.runtime.clock import monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.supervisor import Supervisor
from horde_agents.store import attempts, cross_checks, jobs, reports
from horde_agents.store.cross_checks import REPORT, UNDECIDED, CrossCheck

_DAY: Final = timedelta(hours=24)
#: How often a reported job is tried again that could not be run.
_MOST_TRIES: Final = 3
_AT_ONCE: Final = 2

_log = get_logger(__name__)


@dataclass(slots=True)
class CheatReports:
    """The door for cheat reports, and what follows from them."""

    parts: Parts
    finding: Finding
    reruns: Reruns
    supervisor: Supervisor
    _in_hand: set[str] = field(default_factory=set)
    _tries: dict[str, int] = field(default_factory=dict)
    _due_s: dict[str, float] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def take(self, report: V0JobCheated) -> str | None:
        """Record the report and follow it up; the reason why not, if it does not count."""
        why = await self._why_unsigned(report)
        if why is None:
            begun = await self.parts.store.writer.run(lambda connection: self._record(connection, report))
            if isinstance(begun, CrossCheck):
                self._news.set()
            else:
                why = begun
        _log.warning("cheat report", job=report.job_uuid[:64], refused=why)
        return why

    async def serve(self) -> NoReturn:
        """Follow up what is open, that of earlier processes too, and try again what nobody could run."""
        while True:
            async with self.parts.store.reading() as connection:
                left = await cross_checks.still_open(connection)
            for check in left:
                is_due = monotonic_s() >= self._due_s.get(check.uuid, 0.0)
                if check.reason == REPORT and is_due and check.uuid not in self._in_hand:
                    self._in_hand.add(check.uuid)
                    self.supervisor.spawn(f"report of {check.job_uuid}", self._follow_up(check))
            with suppress(TimeoutError):
                async with asyncio.timeout(self.parts.settings.report_retry_s):
                    await self._news.wait()
            self._news.clear()

    async def _why_unsigned(self, report: V0JobCheated) -> str | None:
        """Both encodings count: what the SDK signs, and what stock validators expect (wire note B.8.2)."""
        why: str | None = None
        for payload in _payloads(report):
            why = await why_not_trusted(self.parts, report.signature, payload, Scope.FULL_REQUEST)
            if why is None:
                return None
        return why

    async def _record(self, connection: AsyncConnection, report: V0JobCheated) -> CrossCheck | str:
        job = await jobs.load(connection, report.job_uuid)
        if job is None or job.validator_hotkey != self.parts.signer.hotkey:
            return f"Job {report.job_uuid[:64]} is not known here."
        if job.state is not JobState.COMPLETED:
            return f"Job {job.uuid} is {job.state}; only a completed one can have been cheated at."
        if job.signatory != report.signature.signatory:
            return f"Job {job.uuid} belongs to another signatory."
        winner = await _winner(connection, job.uuid)
        if winner is None:
            return f"No miner of this validator completed job {job.uuid}."
        at, signature = now(), report.signature.model_dump(mode="json")
        why = await self._why_too_many(connection, job.signatory)
        if why is not None:
            return why
        is_new = await reports.add_cheat_report(
            connection, job.uuid, report.trusted_job_uuid[:36], report.details, signature, at
        )
        if not is_new:
            return f"Job {job.uuid} has been reported already."
        miner, kind = winner.miner_hotkey, winner.executor_class
        check = CrossCheck(str(uuid4()), job.uuid, REPORT, kind, miner, at, job.signatory)
        await cross_checks.add(connection, check)
        return check

    async def _why_too_many(self, connection: AsyncConnection, signatory: str) -> str | None:
        settings = self.parts.settings
        made, wrong = await cross_checks.reports_of(connection, signatory, now() - _DAY)
        if wrong >= settings.wrong_reports_per_day:
            return f"{signatory} has made {wrong} wrong reports in 24 hours; come back when they are older."
        if made >= settings.reports_per_day:
            return f"{signatory} has made {made} reports in 24 hours, which is the limit."
        return None

    async def _follow_up(self, check: CrossCheck) -> None:
        try:
            async with self._turn:
                await self._try(check)
        finally:
            self._in_hand.discard(check.uuid)

    async def _try(self, check: CrossCheck) -> None:
        """Judge the report, if somebody can run its job now."""
        self._tries[check.uuid] = self._tries.get(check.uuid, 0) + 1
        async with self.parts.store.reading() as connection:
            job = await jobs.load(connection, check.job_uuid)
            winner = await _winner(connection, check.job_uuid)
            history = await records.history(connection, winner.uuid) if winner else []
        outputs: list[Output] = []
        if job is None or not history or not isinstance(last := history[-1], Finished):
            result: Ruling | None = Ruling(UNDECIDED, "the job's own result is not in the store")
        elif not has_output(last):
            result = Ruling(UNDECIDED, "the job left no output to compare")
        else:
            outputs.append(Output(check.miner_hotkey, last))
            result = await self._judge(check, V2JobRequest.model_validate_json(job.request_json), outputs)
        if result is None and self._tries[check.uuid] >= _MOST_TRIES:
            result = Ruling(UNDECIDED, "nobody could run the job again")
        if result is None:
            self._due_s[check.uuid] = monotonic_s() + self.parts.settings.report_retry_s
            return
        await self._end(check, result, outputs)
        self._tries.pop(check.uuid)
        self._due_s.pop(check.uuid, None)

    async def _judge(self, check: CrossCheck, request: V2JobRequest, outputs: list[Output]) -> Ruling | None:
        """Run the job until it can be judged; ``None`` when nobody could run it now."""
        result = report_ruling(outputs[0], outputs[1:])
        while result is None:
            other = await self._another(check, outputs)
            output = await self.reruns.run(request, check.executor_class, other) if other else None
            if output is None:
                return None
            outputs.append(output)
            result = report_ruling(outputs[0], outputs[1:])
        return result

    async def _another(self, check: CrossCheck, outputs: Sequence[Output]) -> str | None:
        if self.parts.directory.trusted is not None:
            return TRUSTED_MINER_HOTKEY
        seen = frozenset(output.miner_hotkey for output in outputs)
        others = await self.finding.others(check.executor_class, seen)
        return others[0].hotkey if others else None

    async def _end(self, check: CrossCheck, result: Ruling, outputs: Sequence[Output]) -> None:
        at, span_s = now(), self.parts.settings.cheated_pause_s

        async def store(connection: AsyncConnection) -> None:
            evidence = evidence_of(result, outputs)
            await cross_checks.end(connection, check.uuid, result.state, result.loser, evidence, at)
            if result.loser:
                note = f"cheated at job {check.job_uuid}: {result.why}"
                await records.pause(connection, records.Pause(result.loser, note, span_s, span_s), at)

        await self.parts.store.writer.run(store)
        self.parts.metrics.comparisons.labels(check.reason, result.state).inc()
        if result.loser:
            self.parts.reliability.incident(result.loser, at.timestamp())
        _log.warning("cheat report judged", job=check.job_uuid, outcome=result.state, why=result.why)


async def _winner(connection: AsyncConnection, job_uuid: str) -> attempts.StoredAttempt | None:
    tries = await attempts.of_job(connection, job_uuid)
    completed = [attempt for attempt in tries if attempt.state is JobState.COMPLETED]
    return completed[-1] if completed else None


def _payloads(report: V0JobCheated) -> list[bytes]:
    body: Mapping[str, Any] = {
        "job_uuid": report.job_uuid,
        "trusted_job_uuid": report.trusted_job_uuid,
        "details": report.details,
    }
    return [full_request_payload(body), stock_cheat_payload(body)]
