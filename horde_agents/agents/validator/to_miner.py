"""Frames for a miner, and the receipts that they bring."""

from dataclasses import dataclass
from typing import TypeAlias

from horde_agents.protocol.frames import render
from horde_agents.protocol.validator_miner import (
    HordeProgressReceipt,
    V0JobAcceptedReceiptRequest,
    V0JobFinishedReceiptRequest,
)
from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import JobFinished, ReceiptType, payload_object

#: Attempt, type, and the sequence of a progress receipt (0 for others).
ReceiptKey: TypeAlias = tuple[str, ReceiptType, int]


@dataclass(frozen=True, slots=True)
class ToMiner:
    """A frame for the miner; ``receipt`` is the one it brings, to be acknowledged."""

    text: str
    receipt: ReceiptKey | None = None


def receipt_frame(receipt: Receipt) -> ToMiner:
    """The frame that brings the miner an accepted or finished receipt."""
    payload = receipt.payload
    kind = V0JobFinishedReceiptRequest if isinstance(payload, JobFinished) else V0JobAcceptedReceiptRequest
    text = render(kind(payload=payload_object(payload), signature=receipt.validator_signature))
    return ToMiner(text, (payload.job_uuid, payload.receipt_type, 0))


def progress_frame(receipt: ProgressReceipt) -> ToMiner:
    """The frame that brings the miner a progress receipt."""
    payload = receipt.payload
    frame = HordeProgressReceipt(payload=payload_object(payload), signature=receipt.validator_signature)
    return ToMiner(render(frame), (payload.job_uuid, payload.receipt_type, payload.sequence))
