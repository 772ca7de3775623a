"""Brings a miner the receipts that it may not have, over a connection that is open anyway."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.miner_link import LinkLost, MinerBroken, MinerLink
from horde_agents.agents.validator.news import observed
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.to_miner import ReceiptKey, ToMiner, progress_frame, receipt_frame
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY
from horde_agents.protocol.validator_miner import HordeReceiptStored
from horde_agents.receipts.payloads import ReceiptType
from horde_agents.runtime.clock import now
from horde_agents.store import progress, receipts


@dataclass(slots=True)
class Delivery:
    """What was sent over ``link`` and is not acknowledged yet.

    A miner with ``receipt-ack/1`` says what it has stored; to any other a receipt counts as delivered
    when the connection it was written to was closed by both sides.
    """

    parts: Parts
    link: MinerLink
    attempt_uuid: str = ""
    _sent: set[ReceiptKey] = field(default_factory=set)

    async def send(self, frame: ToMiner) -> None:
        """Write a frame and remember the receipt it brings.

        Raises:
            LinkLost: the connection has ended.
        """
        await self.link.send(frame.text)
        if frame.receipt:
            self._sent.add(frame.receipt)

    async def send_kept(self) -> None:
        """Send what earlier connections may not have delivered; attempts with a session see to their own.

        Raises:
            LinkLost: the connection has ended.
        """
        if self.link.miner.hotkey == TRUSTED_MINER_HOTKEY:
            return
        after = now() - timedelta(seconds=self.parts.settings.receipt_resend_s)
        async with self.parts.store.reading() as connection:
            kept = await receipts.unacknowledged(
                connection, self.link.miner.hotkey, self.parts.signer.hotkey, after
            )
            proofs = await progress.unacknowledged(
                connection, self.link.miner.hotkey, self.parts.signer.hotkey, after
            )
        frames = [receipt_frame(receipt) for receipt in kept]
        if self.link.announces(Extension.PROGRESS):
            frames += [progress_frame(receipt) for receipt in proofs]
        others = self.parts.attempts_in_hand - {self.attempt_uuid}
        for frame in frames:
            if frame.receipt and frame.receipt not in self._sent and frame.receipt[0] not in others:
                await self.send(frame)

    def take(self, frame: HordeReceiptStored) -> None:
        """Note the miner's word, as far as it is about receipts of this connection."""
        told = (frame.job_uuid, frame.receipt_type, frame.sequence)
        for key in [key for key in self._sent if key == told]:
            self._sent.discard(key)
            self._acknowledge(key)

    async def settle(self) -> None:
        """Give a miner that acknowledges a moment to do so; other frames do not matter any more."""
        if not self.link.announces(Extension.RECEIPT_ACK):
            return
        try:
            async with asyncio.timeout(self.parts.settings.receipt_ack_s):
                while self._sent:
                    frame = await self.link.receive()
                    if isinstance(frame, HordeReceiptStored):
                        self.take(frame)
        except (TimeoutError, LinkLost, MinerBroken):
            return  # kept, and sent again on the next connection

    def closed(self) -> None:
        """The connection is over: a clean end delivers to a miner that does not acknowledge."""
        if self.link.closed_cleanly and not self.link.announces(Extension.RECEIPT_ACK):
            for key in self._sent:
                self._acknowledge(key)

    def _acknowledge(self, key: ReceiptKey) -> None:
        at = now()
        uuid, kind, sequence = key

        async def unit(connection: AsyncConnection) -> None:
            if kind is ReceiptType.PROGRESS:
                await progress.acknowledge(connection, uuid, sequence, at)
            else:
                await receipts.acknowledge(connection, uuid, kind.value, at)

        stored = self.parts.store.writer.queue(unit)
        stored.add_done_callback(observed)
