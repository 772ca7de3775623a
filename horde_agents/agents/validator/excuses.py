"""Whether a miner that declines as busy has shown why (wire note C.9).

A signature takes a tenth of a millisecond to check, and a thread of its own would hold the interpreter just
the same; so a few receipts are checked at a time, and users' jobs go on in between.
"""

import asyncio
from collections.abc import Iterable, Sequence

from horde_agents.agents.validator.parts import Parts
from horde_agents.protocol.signing import from_hex, verify
from horde_agents.protocol.validator_miner import SignedReceipt
from horde_agents.receipts.ledger import ProgressReceipt, Receipt, valid_excuses
from horde_agents.receipts.payloads import (
    JobStarted,
    ReceiptType,
    ReceiptWrong,
    read_payload,
    read_progress,
    signed_text,
)
from horde_agents.runtime.clock import now

_RAO_PER_TAO = 1_000_000_000
#: Receipts of one decline that are looked at; each costs a signature check.
_MOST_SHOWN = 256
#: Receipts that are checked in one turn of the event loop, with two signatures each.
_CHECKED_AT_ONCE = 8


async def is_excused(parts: Parts, offer: JobStarted, shown: Sequence[SignedReceipt]) -> bool:
    """True when the receipts shown, and our own jobs there, fill every executor that the miner offers.

    A miner whose manifest is unknown or empty has nothing to fill and is never excused (wire note J 23).
    """
    offered = parts.manifests.of(offer.miner_hotkey).get(offer.executor_class, 0)
    others = await believed(parts, offer, shown, parts.settings.minimum_excuse_stake_tao)
    own = parts.occupancy.busy([offer.miner_hotkey], offer.executor_class, now(), without=offer.job_uuid)
    return 0 < offered <= len(others) + own[offer.miner_hotkey]


async def believed(
    parts: Parts, offer: JobStarted, shown: Sequence[SignedReceipt], minimum_stake_tao: float
) -> list[Receipt]:
    """Receipts of other validators that show why ``offer`` cannot be taken, their signatures checked."""
    minimum_stake_rao = round(minimum_stake_tao * _RAO_PER_TAO)
    found: dict[str, Receipt] = {}
    for first in range(0, min(len(shown), _MOST_SHOWN), _CHECKED_AT_ONCE):
        await asyncio.sleep(0)
        some = _readable(shown[first : first + _CHECKED_AT_ONCE])
        others = (each for each in some if each.payload.validator_hotkey != parts.signer.hotkey)
        stake_rao = parts.directory.stake_rao
        valid = valid_excuses(others, offer, stake_rao, minimum_stake_rao, _is_signed)
        found |= {receipt.payload.job_uuid: receipt for receipt in valid}
    return list(found.values())


def _readable(shown: Sequence[SignedReceipt]) -> Iterable[Receipt]:
    for signed in shown:
        try:
            payload = read_payload(signed.payload, ReceiptType.STARTED)
        except ReceiptWrong:
            continue
        yield Receipt(payload, signed.validator_signature, signed.miner_signature)


def readable(shown: Sequence[SignedReceipt]) -> Iterable[Receipt | ProgressReceipt]:
    """Receipts of any type that came with a decline, as far as they can be read."""
    for signed in shown[:_MOST_SHOWN]:
        try:
            if signed.payload.get("receipt_type") == ReceiptType.PROGRESS:
                proof = read_progress(signed.payload)
                yield ProgressReceipt(proof, signed.validator_signature, signed.miner_signature)
            else:
                payload = read_payload(signed.payload)
                yield Receipt(payload, signed.validator_signature, signed.miner_signature)
        except ReceiptWrong:
            continue


def is_signed_by_both(receipt: Receipt | ProgressReceipt) -> bool:
    """Whether the validator and the miner that a receipt names have signed it."""
    payload = receipt.payload
    text = signed_text(payload)
    return verify(payload.validator_hotkey, text, from_hex(receipt.validator_signature)) and verify(
        payload.miner_hotkey, text, from_hex(receipt.miner_signature or "")
    )


def _is_signed(receipt: Receipt) -> bool:
    payload = receipt.payload
    return verify(payload.validator_hotkey, signed_text(payload), from_hex(receipt.validator_signature))
