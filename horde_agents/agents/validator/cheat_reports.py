"""Takes users' reports of miners that cheated: verified, recorded with their evidence, the miner paused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator import records
from horde_agents.agents.validator.intake import why_not_trusted
from horde_agents.agents.validator.parts import Parts
from horde_agents.jobs.states import JobState
from horde_agents.protocol.facilitator_validator import V0JobCheated
from horde_agents.protocol.signed_fields import Scope, full_request_payload, stock_cheat_payload
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.store import attempts, jobs, reports

_log = get_logger(__name__)


@dataclass(slots=True)
class CheatReports:
    """The door for cheat reports."""

    parts: Parts

    async def take(self, report: V0JobCheated) -> str | None:
        """Record the report; the reason why not, if it does not count."""
        why = await self._why_unsigned(report)
        if why is None:
            why = await self.parts.store.writer.run(lambda connection: self._record(connection, report))
        _log.warning("cheat report", job=report.job_uuid[:64], refused=why)
        return why

    async def _why_unsigned(self, report: V0JobCheated) -> str | None:
        """Both encodings count: what the SDK signs, and what stock validators expect (wire note B.8.2)."""
        why: str | None = None
        for payload in _payloads(report):
            why = await why_not_trusted(self.parts, report.signature, payload, Scope.FULL_REQUEST)
            if why is None:
                return None
        return why

    async def _record(self, connection: AsyncConnection, report: V0JobCheated) -> str | None:
        job = await jobs.load(connection, report.job_uuid)
        if job is None or job.validator_hotkey != self.parts.signer.hotkey:
            return f"Job {report.job_uuid[:64]} is not known here."
        if job.state is not JobState.COMPLETED:
            return f"Job {job.uuid} is {job.state}; only a completed one can have been cheated at."
        if job.signatory != report.signature.signatory:
            return f"Job {job.uuid} belongs to another signatory."
        tries = await attempts.of_job(connection, job.uuid)
        winners = [attempt for attempt in tries if attempt.state is JobState.COMPLETED]
        if not winners:
            return f"No miner of this validator completed job {job.uuid}."
        at, signature = now(), report.signature.model_dump(mode="json")
        is_new = await reports.add_cheat_report(
            connection, job.uuid, report.trusted_job_uuid[:36], report.details, signature, at
        )
        if not is_new:
            return f"Job {job.uuid} has been reported already."
        pause_s = self.parts.settings.cheated_pause_s
        note = f"cheated at job {job.uuid}"
        await records.pause(connection, records.Pause(winners[-1].miner_hotkey, note, pause_s, pause_s), at)
        return None


def _payloads(report: V0JobCheated) -> list[bytes]:
    body: Mapping[str, Any] = {
        "job_uuid": report.job_uuid,
        "trusted_job_uuid": report.trusted_job_uuid,
        "details": report.details,
    }
    return [full_request_payload(body), stock_cheat_payload(body)]
