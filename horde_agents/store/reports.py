"""Users' judgements of finished jobs: cheat reports and feedback, one of each a job."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import cheat_reports, feedback


async def add_cheat_report(
    connection: AsyncConnection,
    job_uuid: str,
    trusted_job_uuid: str,
    details: object,
    signature: dict[str, Any],
    at: datetime,
) -> bool:
    """Store the report; False when the job has one."""
    known = select(cheat_reports.c.job_uuid).where(cheat_reports.c.job_uuid == job_uuid)
    if (await connection.execute(known)).first() is not None:
        return False
    await connection.execute(
        insert(cheat_reports).values(
            job_uuid=job_uuid,
            trusted_job_uuid=trusted_job_uuid,
            details_json=json.dumps(details),
            signature_json=json.dumps(signature),
            reported_at=at,
        )
    )
    return True


async def add_feedback(
    connection: AsyncConnection,
    job_uuid: str,
    result_correctness: float,
    expected_s: float | None,
    at: datetime,
) -> bool:
    """Store the feedback; False when the job has some."""
    if await load_feedback(connection, job_uuid) is not None:
        return False
    values = {"result_correctness": result_correctness, "expected_duration_s": expected_s, "given_at": at}
    await connection.execute(insert(feedback).values(job_uuid=job_uuid, **values))
    return True


async def load_feedback(connection: AsyncConnection, job_uuid: str) -> dict[str, float | None] | None:
    """The feedback as users read it, or ``None``."""
    row = (await connection.execute(select(feedback).where(feedback.c.job_uuid == job_uuid))).one_or_none()
    if row is None:
        return None
    return {"result_correctness": row.result_correctness, "expected_duration": row.expected_duration_s}
