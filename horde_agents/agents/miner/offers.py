"""Answers what validators ask about attempts: accept or decline within a second, run, file receipts."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.miner.attempts import Attempts
from horde_agents.agents.miner.parts import MinerParts
from horde_agents.agents.miner.slots import ExecutorLink
from horde_agents.jobs.faults import RejectionReason
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.frames import render
from horde_agents.protocol.job_frames import GenericError, V0InitialJobRequest, V0JobRequest
from horde_agents.protocol.validator_miner import (
    HordeProgressReceipt,
    HordeReceiptStored,
    SignedReceipt,
    V0DeclineJobRequest,
    V0JobAcceptedReceiptRequest,
    V0JobFinishedReceiptRequest,
    frame_signature_holds,
)
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted, ReceiptType, ReceiptWrong
from horde_agents.runtime import clock
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.share_claims import ShareClaim

_log = get_logger(__name__)


class Asking(Protocol):
    """The connection a question came on."""

    validator_hotkey: str

    @property
    def extensions(self) -> frozenset[Extension]:
        """What the peer understands beyond the wire."""

    async def send(self, text: str) -> None:
        """Hand a frame over."""


class _Declined(Exception):
    def __init__(
        self,
        reason: RejectionReason,
        message: str,
        receipts: list[SignedReceipt] | None = None,
        claim: ShareClaim | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.receipts = receipts or []
        self.claim = claim


@dataclass(slots=True)
class Offers:
    """Offers of attempts, in any number at once."""

    parts: MinerParts
    attempts: Attempts
    draining: bool = False
    _answering: set[str] = field(default_factory=set)

    async def answer(self, asking: Asking, offer: V0InitialJobRequest, value: dict[str, Any]) -> None:
        """Accept or decline ``offer``; one that was answered before gets the same answer again."""
        if offer.job_uuid in self._answering:
            return
        self._answering.add(offer.job_uuid)
        try:
            with self.parts.metrics.answer_s.time():
                if not await self._answered_before(asking, offer):
                    await self._answer_new(asking, offer, value)
        except _Declined as declined:
            await self._decline(asking, offer, declined)
        finally:
            self._answering.discard(offer.job_uuid)

    async def request(self, asking: Asking, request: V0JobRequest, value: dict[str, Any]) -> None:
        """Hand a job request to the attempt's executor."""
        attempt = self.attempts.find(request.job_uuid)
        if attempt is None or attempt.validator_hotkey != asking.validator_hotkey:
            await asking.send(render(GenericError(details=f"job {request.job_uuid:.64} is not open here")))
        elif frame_signature_holds(value, asking.validator_hotkey) is False:
            await asking.send(render(GenericError(details="validator_signature does not hold")))
        else:
            await self.attempts.request(attempt, request)

    async def receipt(
        self, asking: Asking, frame: V0JobAcceptedReceiptRequest | V0JobFinishedReceiptRequest
    ) -> None:
        """Check, countersign, store and publish a receipt."""
        accepted = isinstance(frame, V0JobAcceptedReceiptRequest)
        kind = ReceiptType.ACCEPTED if accepted else ReceiptType.FINISHED
        try:
            receipt = self.parts.book.checked(
                frame.payload, frame.signature, validator_hotkey=asking.validator_hotkey, expected=kind
            )
        except ReceiptWrong as error:
            _log.warning("receipt refused", peer=asking.validator_hotkey, why=str(error))
            await asking.send(render(GenericError(details=f"{kind}: {error}")))
            return

        async def store(connection: AsyncConnection) -> None:
            await self.parts.book.file(connection, receipt)

        await self.parts.store.writer.run(store)
        self.parts.book.filed(receipt)
        self.parts.metrics.receipts.labels(type=kind.value).inc()
        if Extension.RECEIPT_ACK in asking.extensions:
            stored = HordeReceiptStored(job_uuid=receipt.payload.job_uuid, receipt_type=kind.value)
            await asking.send(render(stored))

    async def progress(self, asking: Asking, frame: HordeProgressReceipt) -> None:
        """Check, countersign, store and publish a progress receipt."""
        try:
            receipt = self.parts.book.checked_progress(
                frame.payload, frame.signature, validator_hotkey=asking.validator_hotkey
            )
        except ReceiptWrong as error:
            _log.warning("progress receipt refused", peer=asking.validator_hotkey, why=str(error))
            await asking.send(render(GenericError(details=f"{ReceiptType.PROGRESS}: {error}")))
            return

        async def store(connection: AsyncConnection) -> None:
            await self.parts.book.file_progress(connection, receipt)

        await self.parts.store.writer.run(store)
        self.parts.book.filed_progress(receipt)
        self.parts.metrics.receipts.labels(type=ReceiptType.PROGRESS.value).inc()
        payload = receipt.payload
        stored = HordeReceiptStored(
            job_uuid=payload.job_uuid, receipt_type=ReceiptType.PROGRESS.value, sequence=payload.sequence
        )
        await asking.send(render(stored))

    async def _answered_before(self, asking: Asking, offer: V0InitialJobRequest) -> bool:
        attempt = self.attempts.find(offer.job_uuid)
        if attempt is not None:
            if attempt.validator_hotkey != asking.validator_hotkey:
                raise _Declined(RejectionReason.UNKNOWN, "this uuid belongs to another validator's job")
            await self.attempts.join(attempt, asking)
            return True
        told = await self.attempts.ended_before(offer.job_uuid, asking.validator_hotkey)
        for text in told or ():
            await asking.send(text)
        return told is not None

    async def _answer_new(self, asking: Asking, offer: V0InitialJobRequest, value: dict[str, Any]) -> None:
        if self.draining:
            raise _Declined(RejectionReason.UNKNOWN, "the miner is shutting down")
        started = self._checked(asking, offer, value)
        open_now = len(self.attempts.of_validator(asking.validator_hotkey))
        if open_now >= self.parts.settings.max_open_attempts:
            raise _Declined(RejectionReason.BUSY, f"this validator has {open_now} attempts open here")
        self._refuse_beyond_share(asking, offer, started)
        link = await self._executor_for(asking, offer, started)
        try:
            await self.attempts.accept(offer, started, asking, link)
        except BaseException:
            self.parts.slots.give_back(link)
            raise
        if not _of(started).is_organic:
            self.parts.shares.began_synthetic(_of(started), clock.now())
        self.parts.metrics.receipts.labels(type=ReceiptType.STARTED.value).inc()

    async def _executor_for(
        self, asking: Asking, offer: V0InitialJobRequest, started: Receipt
    ) -> ExecutorLink:
        """An executor that is taken for the offer; without one it is declined, with excuses."""
        link = await self.parts.slots.take(offer.executor_class)
        why = f"no idle executor of class {offer.executor_class}"
        if link is not None:
            not_ready = await link.ready_for(offer.job_uuid)
            if not_ready is None:
                return link
            self.parts.slots.release(link.slot_id)
            why = f"no executor of class {offer.executor_class}: {not_ready}"
        if _of(started).is_organic:  # a batch asks once, and does not come back for a slot
            self.parts.shares.turned_away(started, offer.executor_class, clock.now())
        raise _Declined(RejectionReason.BUSY, why, self._shown(asking, _of(started)))

    def _shown(self, asking: Asking, asked: JobStarted) -> list[SignedReceipt]:
        """Receipts that show why nothing is free; a stock peer breaks on other types than started ones."""
        reads_all = Extension.EXCUSES in asking.extensions
        return self.parts.book.proofs(asked) if reads_all else self.parts.book.excuses(asked)

    def _refuse_beyond_share(self, asking: Asking, offer: V0InitialJobRequest, started: Receipt) -> None:
        """Keep the free slots for validators that have had less for their share and were turned away."""
        kind, at, asked = offer.executor_class, clock.now(), _of(started)
        slots = self.parts.slots.count(kind)
        if self.parts.shares.is_exempt(asked, slots, at):
            return
        claim = self.parts.shares.claim_against(asked.validator_hotkey, kind, slots, at)
        if claim is not None:
            why = f"free executors of class {kind} are for validators that have had less for their share"
            raise _Declined(RejectionReason.BUSY, why, self._shown(asking, asked), claim)

    def _checked(self, asking: Asking, offer: V0InitialJobRequest, value: dict[str, Any]) -> Receipt:
        """The offer's started receipt, countersigned; an offer without a right one is not served."""
        holds = frame_signature_holds(value, asking.validator_hotkey)
        if holds is False or (holds is None and self.parts.settings.require_frame_signature):
            raise _Declined(
                RejectionReason.INVALID_SIGNATURE, "validator_signature is missing or does not hold"
            )
        if not self.parts.slots.serves(offer.executor_class):
            raise _Declined(
                RejectionReason.BUSY, f"this miner has no executor of class {offer.executor_class!r:.80}"
            )
        try:
            receipt = self.parts.book.checked(
                offer.job_started_receipt_payload or {},
                offer.job_started_receipt_signature or "",
                validator_hotkey=asking.validator_hotkey,
                expected=ReceiptType.STARTED,
                job_uuid=offer.job_uuid,
            )
        except ReceiptWrong as error:
            raise _Declined(RejectionReason.INVALID_RECEIPT, str(error)) from error
        assert isinstance(receipt.payload, JobStarted)
        if receipt.payload.executor_class != offer.executor_class:
            raise _Declined(RejectionReason.INVALID_RECEIPT, "started receipt names another executor class")
        return receipt

    async def _decline(self, asking: Asking, offer: V0InitialJobRequest, declined: _Declined) -> None:
        _log.info("offer declined", job=offer.job_uuid, reason=declined.reason.value, why=str(declined))
        reason = declined.reason.value if declined.claim is None else declined.claim.reason
        self.parts.metrics.declines.labels(reason=reason).inc()
        decline = V0DeclineJobRequest(
            job_uuid=offer.job_uuid, message=str(declined), reason=declined.reason, receipts=declined.receipts
        )
        if declined.claim is not None and Extension.SHARES in asking.extensions:
            decline.context = declined.claim.model_dump(mode="json")
        await asking.send(render(decline))


def _of(started: Receipt) -> JobStarted:
    assert isinstance(started.payload, JobStarted)
    return started.payload
