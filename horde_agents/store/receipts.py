"""Receipts in the database: at the validator until acknowledged, at the miner on their pages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import Payload, ReceiptType, payload_object, read_payload
from horde_agents.store.tables import receipts

_MOST_OF_VALIDATORS: Final = 5000


@dataclass(frozen=True, slots=True)
class Filed:
    """A stored receipt and whether this call stored it."""

    receipt: Receipt
    is_new: bool


async def file(connection: AsyncConnection, receipt: Receipt, at: datetime, page: int | None = None) -> Filed:
    """Store a receipt once; the first of its kind for a job wins, and is returned to later callers."""
    payload = receipt.payload
    known = await find(connection, payload.job_uuid, payload.receipt_type, payload.validator_hotkey)
    if known is not None:
        return Filed(known, is_new=False)
    await connection.execute(
        insert(receipts).values(
            job_uuid=payload.job_uuid,
            receipt_type=payload.receipt_type.value,
            validator_hotkey=payload.validator_hotkey,
            miner_hotkey=payload.miner_hotkey,
            payload_json=json.dumps(payload_object(payload)),
            validator_signature=receipt.validator_signature,
            miner_signature=receipt.miner_signature,
            page=page,
            stored_at=at,
        )
    )
    return Filed(receipt, is_new=True)


async def find(
    connection: AsyncConnection, job_uuid: str, receipt_type: ReceiptType, validator_hotkey: str
) -> Receipt | None:
    """The stored receipt of this kind, or ``None``."""
    same = (
        (receipts.c.job_uuid == job_uuid)
        & (receipts.c.receipt_type == receipt_type.value)
        & (receipts.c.validator_hotkey == validator_hotkey)
    )
    row = (await connection.execute(select(receipts).where(same))).one_or_none()
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
    query = select(receipts).where(receipts.c.page == page).order_by(receipts.c.id)
    return [_receipt(row) for row in await connection.execute(query)]


async def acknowledge(connection: AsyncConnection, job_uuid: str, receipt_type: str, at: datetime) -> None:
    """Note that the miner has stored the receipt."""
    same = (receipts.c.job_uuid == job_uuid) & (receipts.c.receipt_type == receipt_type)
    await connection.execute(update(receipts).where(same).values(acknowledged_at=at))


async def unacknowledged(
    connection: AsyncConnection, miner_hotkey: str, validator_hotkey: str, after: datetime
) -> list[Receipt]:
    """A validator's own accepted and finished receipts that this miner may not have yet."""
    sent_apart = [ReceiptType.ACCEPTED.value, ReceiptType.FINISHED.value]
    wanted = (
        (receipts.c.miner_hotkey == miner_hotkey)
        & (receipts.c.validator_hotkey == validator_hotkey)
        & receipts.c.acknowledged_at.is_(None)
        & receipts.c.receipt_type.in_(sent_apart)
        & (receipts.c.stored_at >= after)
    )
    return [
        _receipt(row)
        for row in await connection.execute(select(receipts).where(wanted).order_by(receipts.c.id))
    ]


def _receipt(row: Row[Any]) -> Receipt:
    payload: Payload = read_payload(json.loads(row.payload_json))
    return Receipt(payload, row.validator_signature, row.miner_signature)
