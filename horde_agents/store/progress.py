"""Progress receipts in the database: at the validator until acknowledged, at the miner on their pages."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.receipts.ledger import ProgressReceipt
from horde_agents.receipts.payloads import read_progress, signed_text
from horde_agents.store.countersigning import imports
from horde_agents.store.tables import progress_receipts, verdicts

#: The first receipt of a sequence number wins.
_ADD: Final[Mapping[str, Any]] = {
    "sqlite": sqlite.insert(progress_receipts).on_conflict_do_nothing().inline(),
    "postgresql": postgresql.insert(progress_receipts).on_conflict_do_nothing().inline(),
}
_IMPORT: Final = imports(progress_receipts, ["job_uuid", "sequence", "validator_hotkey", "miner_hotkey"])
_ACKNOWLEDGE: Final = (
    update(progress_receipts)
    .where(progress_receipts.c.job_uuid == bindparam("wanted"))
    .where(progress_receipts.c.sequence == bindparam("which"))
    .values(acknowledged_at=bindparam("at"))
)
_UNACKNOWLEDGED: Final = (
    select(progress_receipts)
    .where(
        (progress_receipts.c.miner_hotkey == bindparam("miner"))
        & (progress_receipts.c.validator_hotkey == bindparam("validator"))
        & progress_receipts.c.acknowledged_at.is_(None)
        & (progress_receipts.c.stored_at >= bindparam("after"))
    )
    .order_by(progress_receipts.c.id)
)
_ON_PAGE: Final = (
    select(progress_receipts)
    .where(progress_receipts.c.page == bindparam("wanted"))
    .order_by(progress_receipts.c.id)
)


async def file(
    connection: AsyncConnection, receipt: ProgressReceipt, at: datetime, page: int | None = None
) -> None:
    """Store a receipt once; one that is known already stays as it is."""
    await connection.execute(_ADD[connection.dialect.name], columns(receipt, at, page))


async def import_all(
    connection: AsyncConnection, found: Sequence[ProgressReceipt], at: datetime, texts: Sequence[str] = ()
) -> None:
    """Store receipts of peers' pages; an own one, stored when it was signed, gets the miner's signature."""
    if found:
        known = texts or [signed_text(each.payload).decode() for each in found]
        rows = [columns(each, at, text=text) for each, text in zip(found, known, strict=True)]
        await connection.execute(_IMPORT[connection.dialect.name], rows)


async def of_job(connection: AsyncConnection, job_uuid: str) -> list[ProgressReceipt]:
    """All progress receipts of an attempt, by their sequence."""
    same = progress_receipts.c.job_uuid == job_uuid
    query = select(progress_receipts).where(same).order_by(progress_receipts.c.sequence)
    return [_receipt(row) for row in await connection.execute(query)]


async def newest_since(connection: AsyncConnection, at: datetime, miner_hotkey: str) -> list[ProgressReceipt]:
    """A miner's receipts stored after ``at``, the newest of each attempt last."""
    wanted = (progress_receipts.c.stored_at >= at) & (progress_receipts.c.miner_hotkey == miner_hotkey)
    newest = select(func.max(progress_receipts.c.id)).where(wanted).group_by(progress_receipts.c.job_uuid)
    query = select(progress_receipts).where(progress_receipts.c.id.in_(newest))
    return [_receipt(row) for row in await connection.execute(query.order_by(progress_receipts.c.id))]


async def on_page(connection: AsyncConnection, page: int) -> list[ProgressReceipt]:
    """The receipts of a page, in the order they were published."""
    return [_receipt(row) for row in await connection.execute(_ON_PAGE, {"wanted": page})]


async def acknowledge(connection: AsyncConnection, job_uuid: str, sequence: int, at: datetime) -> None:
    """Note that the miner has stored the receipt."""
    await connection.execute(_ACKNOWLEDGE, {"wanted": job_uuid, "which": sequence, "at": at})


async def unacknowledged(
    connection: AsyncConnection, miner_hotkey: str, validator_hotkey: str, after: datetime
) -> list[ProgressReceipt]:
    """A validator's own receipts stored after ``after`` that this miner may not have yet."""
    wanted = {"miner": miner_hotkey, "validator": validator_hotkey, "after": after}
    return [_receipt(row) for row in await connection.execute(_UNACKNOWLEDGED, wanted)]


async def signed_by_both(
    connection: AsyncConnection, validator_hotkey: str, since: datetime, cycle: int | None = None
) -> list[ProgressReceipt]:
    """As ``receipts.signed_by_both``."""
    wanted = (
        (progress_receipts.c.validator_hotkey == validator_hotkey)
        & progress_receipts.c.miner_signature.is_not(None)
        & (progress_receipts.c.stored_at >= since)
    )
    if cycle is not None:
        ended = select(verdicts.c.attempt_uuid).where(verdicts.c.cycle == cycle)
        wanted &= progress_receipts.c.job_uuid.in_(ended)
    query = select(progress_receipts).where(wanted).order_by(progress_receipts.c.id)
    return [_receipt(row) for row in await connection.execute(query)]


async def evict(connection: AsyncConnection, before: datetime, most: int) -> int:
    """Delete up to ``most`` receipts stored before ``before``; how many were deleted."""
    old = select(progress_receipts.c.id).where(progress_receipts.c.stored_at < before).limit(most)
    gone = await connection.execute(delete(progress_receipts).where(progress_receipts.c.id.in_(old)))
    return gone.rowcount


def columns(
    receipt: ProgressReceipt, at: datetime, page: int | None = None, text: str = ""
) -> dict[str, Any]:
    """The row of a receipt."""
    payload = receipt.payload
    return {
        "job_uuid": payload.job_uuid,
        "sequence": payload.sequence,
        "validator_hotkey": payload.validator_hotkey,
        "miner_hotkey": payload.miner_hotkey,
        "payload_json": text or signed_text(payload).decode(),
        "validator_signature": receipt.validator_signature,
        "miner_signature": receipt.miner_signature,
        "page": page,
        "stored_at": at,
    }


def _receipt(row: Row[Any]) -> ProgressReceipt:
    payload = read_progress(json.loads(row.payload_json))
    return ProgressReceipt(payload, row.validator_signature, row.miner_signature)
