"""The miner's receipts: checked, countersigned over the same text, stored and published on pages."""

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.miner.shown_receipts import OpenJobs
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY, Hotkey, Signer, from_hex, to_hex, verify
from horde_agents.protocol.validator_miner import SignedReceipt
from horde_agents.receipts.ledger import ProgressReceipt, Receipt, is_excuse
from horde_agents.receipts.pages import page_line, page_of
from horde_agents.receipts.payloads import (
    JobAccepted,
    JobFinished,
    JobStarted,
    ReceiptType,
    ReceiptWrong,
    Statement,
    payload_object,
    read_payload,
    read_progress,
    signed_text,
)
from horde_agents.runtime import clock
from horde_agents.store import progress, receipts
from horde_agents.store.engine import Store

#: How far back excuses are looked for; started receipts live for seconds (wire note C.9.2).
_EXCUSES_BACK = timedelta(minutes=2)
#: How far back jobs are looked for on start that may still run.
_JOBS_BACK = timedelta(days=1)


@dataclass(slots=True)
class ReceiptBook:
    """All receipts of one miner; the newest started ones are at hand, for the excuses of declines.

    Validators know the miner by ``wire_hotkey``; a trusted one, which has a name without a key, keeps none.
    """

    store: Store
    signer: Signer
    wire_hotkey: Hotkey
    _started: deque[tuple[Receipt, SignedReceipt]] = field(default_factory=deque)
    _open: OpenJobs = field(default_factory=OpenJobs)

    def checked(
        self,
        value: dict[str, Any],
        signature: str,
        *,
        validator_hotkey: str,
        expected: ReceiptType,
        job_uuid: str | None = None,
    ) -> Receipt:
        """Read a receipt that ``validator_hotkey`` sent, and countersign it.

        Raises:
            ReceiptWrong: malformed, about others, or not signed by that validator.
        """
        payload = read_payload(value, expected)
        if payload.validator_hotkey != validator_hotkey or payload.miner_hotkey != self.wire_hotkey:
            raise ReceiptWrong("receipt names another validator or miner")
        if job_uuid is not None and payload.job_uuid != job_uuid:
            raise ReceiptWrong("receipt is about another job")
        text = signed_text(payload)
        if not verify(validator_hotkey, text, from_hex(signature)):
            raise ReceiptWrong("receipt is not signed by its validator")
        return Receipt(payload, signature, to_hex(self.signer.sign(text)))

    def checked_progress(
        self, value: dict[str, Any], signature: str, *, validator_hotkey: str
    ) -> ProgressReceipt:
        """As ``checked``, for a progress receipt."""
        payload = read_progress(value)
        if payload.validator_hotkey != validator_hotkey or payload.miner_hotkey != self.wire_hotkey:
            raise ReceiptWrong("receipt names another validator or miner")
        text = signed_text(payload)
        if not verify(validator_hotkey, text, from_hex(signature)):
            raise ReceiptWrong("receipt is not signed by its validator")
        return ProgressReceipt(payload, signature, to_hex(self.signer.sign(text)))

    async def file_progress(self, connection: AsyncConnection, receipt: ProgressReceipt) -> None:
        """Store and publish, on pages that stock readers do not ask for."""
        if self.wire_hotkey == TRUSTED_MINER_HOTKEY:
            return
        at = clock.now()
        await progress.file(connection, receipt, at, page_of(at.timestamp()))

    async def file(self, connection: AsyncConnection, receipt: Receipt) -> None:
        """Store and publish; a receipt that is known already stays as it is."""
        if self.wire_hotkey == TRUSTED_MINER_HOTKEY:
            return
        at = clock.now()
        await receipts.file(connection, receipt, at, page_of(at.timestamp()))

    async def page(self, number: int) -> bytes:
        """A page's bytes; empty when nothing was published on it."""
        async with self.store.reading() as connection:
            found = await receipts.on_page(connection, number)
        return "".join(_line(receipt) for receipt in found).encode()

    async def progress_page(self, number: int) -> bytes:
        """A page of progress receipts; stock readers never ask for one."""
        async with self.store.reading() as connection:
            found = await progress.on_page(connection, number)
        return "".join(_line(receipt) for receipt in found).encode()

    async def load(self) -> None:
        """On start: have at hand what was filed before it."""
        since = clock.now() - _JOBS_BACK
        async with self.store.reading() as connection:
            for receipt in await receipts.since(connection, since, self.signer.hotkey):
                self.filed(receipt)
            for proof in await progress.newest_since(connection, since, self.signer.hotkey):
                self._open.progressed(proof)

    def filed(self, receipt: Receipt) -> None:
        """A receipt is stored: it may be an excuse from now on, or may be none any more."""
        if self.wire_hotkey == TRUSTED_MINER_HOTKEY:
            return
        match receipt.payload:
            case JobStarted():
                self._started.append((receipt, as_wire(receipt)))
                self._open.started(receipt)
            case JobAccepted():
                self._open.accepted(receipt)
            case JobFinished():
                self._open.finished(receipt.payload.job_uuid)

    def filed_progress(self, receipt: ProgressReceipt) -> None:
        """A progress receipt is stored: it shows that its job runs."""
        self._open.progressed(receipt)

    def excuses(self, offer: JobStarted) -> list[SignedReceipt]:
        """Started receipts of others that show why ``offer`` cannot be taken."""
        oldest = clock.now() - _EXCUSES_BACK
        while self._started and self._started[0][0].payload.timestamp < oldest:
            self._started.popleft()
        return [wire for receipt, wire in self._started if is_excuse(receipt, offer)]

    def proofs(self, offer: JobStarted) -> list[SignedReceipt]:
        """All receipts of others' running jobs, for a validator that reads such (``excuses/1``)."""
        return [as_wire(receipt) for receipt in self._open.shown(offer, clock.now())]


def as_wire(receipt: Receipt | ProgressReceipt) -> SignedReceipt:
    """A receipt as it travels inside a decline."""
    return SignedReceipt(
        payload=payload_object(receipt.payload),
        validator_signature=receipt.validator_signature,
        miner_signature=receipt.miner_signature,
    )


def _line(receipt: Receipt | ProgressReceipt) -> str:
    return page_line(_plain(receipt.payload), receipt.validator_signature, receipt.miner_signature or "")


def _plain(payload: Statement) -> dict[str, Any]:
    return payload_object(payload)
