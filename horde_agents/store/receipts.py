"""Receipts in the database: at the validator until acknowledged, at the miner on their pages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import Payload, ReceiptType, read_payload, signed_text
from horde_agents.store.countersigning import imports
from horde_agents.store.tables import receipts, verdicts

_MOST_OF_VALIDATORS: Final = 5000
_KEY: Final = ["job_uuid", "receipt_type", "validator_hotkey", "miner_hotkey"]
_ADD: Final = {
    "sqlite": sqlite.insert(receipts).on_conflict_do_nothing().inline(),
    "postgresql": postgresql.insert(receipts).on_conflict_do_nothing().inline(),
}
#: Built once, because every attempt asks them several times.
_SAME: Final = select(receipts).where(
    and_(*(receipts.c[name] == bindparam(name) for name in _KEY)),
)
_ACKNOWLEDGE: Final = (
    update(receipts)
    .where((receipts.c.job_uuid == bindparam("job")) & (receipts.c.receipt_type == bindparam("type")))
    .values(acknowledged_at=bindparam("at"))
)
_UNACKNOWLEDGED: Final = (
    select(receipts)
    .where(
        (receipts.c.miner_hotkey == bindparam("miner"))
        & (receipts.c.validator_hotkey == bindparam("validator"))
        & receipts.c.acknowledged_at.is_(None)
        & receipts.c.receipt_type.in_([ReceiptType.ACCEPTED.value, ReceiptType.FINISHED.value])
        & (receipts.c.stored_at >= bindparam("after"))
    )
    .order_by(receipts.c.id)
)
_ON_PAGE: Final = select(receipts).where(receipts.c.page == bindparam("wanted")).order_by(receipts.c.id)
_IMPORT: Final = imports(receipts, _KEY)


@dataclass(frozen=True, slots=True)
class Filed:
    """A stored receipt and whether this call stored it."""

    receipt: Receipt
    is_new: bool


async def file(connection: AsyncConnection, receipt: Receipt, at: datetime, page: int | None = None) -> Filed:
    """Store a receipt once; the first of its kind for a job wins, and is returned to later callers."""
    added = await connection.execute(_ADD[connection.dialect.name], _columns(receipt, at, page))
    if added.rowcount == 1:
        return Filed(receipt, is_new=True)
    known = await find(connection, receipt.payload)
    assert known is not None, "a receipt is refused only for one of the same key"
    return Filed(known, is_new=False)


async def find(connection: AsyncConnection, payload: Payload) -> Receipt | None:
    """The stored receipt of this kind, attempt, validator and miner, or ``None``."""
    same = {
        "job_uuid": payload.job_uuid,
        "receipt_type": payload.receipt_type.value,
        "validator_hotkey": payload.validator_hotkey,
        "miner_hotkey": payload.miner_hotkey,
    }
    row = (await connection.execute(_SAME, same)).one_or_none()
    return _receipt(row) if row else None


async def of_job(connection: AsyncConnection, job_uuid: str) -> list[Receipt]:
    """All receipts of an attempt, in the order they were stored."""
    query = select(receipts).where(receipts.c.job_uuid == job_uuid).order_by(receipts.c.id)
    return [_receipt(row) for row in await connection.execute(query)]


async def since(connection: AsyncConnection, at: datetime, miner_hotkey: str) -> list[Receipt]:
    """A miner's receipts stored after ``at``."""
    wanted = (receipts.c.stored_at >= at) & (receipts.c.miner_hotkey == miner_hotkey)
    query = select(receipts).where(wanted).order_by(receipts.c.id)
    return [_receipt(row) for row in await connection.execute(query)]


async def of_validators(
    connection: AsyncConnection, miner_hotkey: str, validator_hotkeys: Sequence[str], since: datetime
) -> list[Receipt]:
    """The newest receipts of these validators at a miner, stored after ``since``; a bounded number."""
    wanted = (
        (receipts.c.miner_hotkey == miner_hotkey)
        & (receipts.c.stored_at >= since)
        & receipts.c.validator_hotkey.in_(validator_hotkeys)
    )
    query = select(receipts).where(wanted).order_by(receipts.c.id.desc()).limit(_MOST_OF_VALIDATORS)
    return [_receipt(row) for row in await connection.execute(query)]


async def on_page(connection: AsyncConnection, page: int) -> list[Receipt]:
    """The receipts of a page, in the order they were published; a page only ever grows at its end."""
    return [_receipt(row) for row in await connection.execute(_ON_PAGE, {"wanted": page})]


async def acknowledge(connection: AsyncConnection, job_uuid: str, receipt_type: str, at: datetime) -> None:
    """Note that the miner has stored the receipt."""
    await connection.execute(_ACKNOWLEDGE, {"job": job_uuid, "type": receipt_type, "at": at})


async def unacknowledged(
    connection: AsyncConnection, miner_hotkey: str, validator_hotkey: str, after: datetime
) -> list[Receipt]:
    """A validator's own accepted and finished receipts that this miner may not have yet."""
    wanted = {"miner": miner_hotkey, "validator": validator_hotkey, "after": after}
    return [_receipt(row) for row in await connection.execute(_UNACKNOWLEDGED, wanted)]


async def import_all(
    connection: AsyncConnection, found: Sequence[Receipt], at: datetime, texts: Sequence[str] = ()
) -> None:
    """Store receipts of peers' pages; the first of its kind wins.

    An own receipt, stored when it was signed, gets the miner's signature, which makes it evidence.
    """
    if found:
        known = texts or [signed_text(each.payload).decode() for each in found]
        rows = [_columns(each, at, text=text) for each, text in zip(found, known, strict=True)]
        await connection.execute(_IMPORT[connection.dialect.name], rows)


async def finished_since(connection: AsyncConnection, at: datetime) -> list[tuple[str, str]]:
    """(validator, job) of the finished receipts stored after ``at``."""
    wanted = (receipts.c.stored_at >= at) & (receipts.c.receipt_type == ReceiptType.FINISHED.value)
    query = select(receipts.c.validator_hotkey, receipts.c.job_uuid).where(wanted)
    return [(row.validator_hotkey, row.job_uuid) for row in await connection.execute(query)]


async def of_others_since(
    connection: AsyncConnection, at: datetime, own_hotkey: str, most: int
) -> list[Receipt]:
    """The newest receipts of other validators stored after ``at``, oldest first, ``most`` at most."""
    wanted = (receipts.c.stored_at >= at) & (receipts.c.validator_hotkey != own_hotkey)
    query = select(receipts).where(wanted).order_by(receipts.c.id.desc()).limit(most)
    return [_receipt(row) for row in reversed((await connection.execute(query)).all())]


async def signed_by_both(
    connection: AsyncConnection, validator_hotkey: str, since: datetime, cycle: int | None = None
) -> list[Receipt]:
    """A validator's receipts stored since then that its miners have countersigned, in stored order.

    With ``cycle``, those of the attempts that ended in it.
    """
    wanted = (
        (receipts.c.validator_hotkey == validator_hotkey)
        & receipts.c.miner_signature.is_not(None)
        & (receipts.c.stored_at >= since)
    )
    if cycle is not None:
        wanted &= receipts.c.job_uuid.in_(select(verdicts.c.attempt_uuid).where(verdicts.c.cycle == cycle))
    query = select(receipts).where(wanted).order_by(receipts.c.id)
    return [_receipt(row) for row in await connection.execute(query)]


async def evict(connection: AsyncConnection, before: datetime, most: int) -> int:
    """Delete up to ``most`` receipts stored before ``before``; how many were deleted."""
    old = select(receipts.c.id).where(receipts.c.stored_at < before).limit(most)
    return (await connection.execute(delete(receipts).where(receipts.c.id.in_(old)))).rowcount


def _columns(receipt: Receipt, at: datetime, page: int | None = None, text: str = "") -> dict[str, Any]:
    payload = receipt.payload
    return {
        "job_uuid": payload.job_uuid,
        "receipt_type": payload.receipt_type.value,
        "validator_hotkey": payload.validator_hotkey,
        "miner_hotkey": payload.miner_hotkey,
        "payload_json": text or signed_text(payload).decode(),
        "validator_signature": receipt.validator_signature,
        "miner_signature": receipt.miner_signature,
        "page": page,
        "stored_at": at,
    }


def _receipt(row: Row[Any]) -> Receipt:
    payload: Payload = read_payload(json.loads(row.payload_json))
    return Receipt(payload, row.validator_signature, row.miner_signature)
