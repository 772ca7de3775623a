"""Reads one line of a peer's receipt page, and says why it is not believed. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import Payload, ReceiptWrong, read_payload, read_progress, signed_text

#: Seconds by which a receipt may be dated ahead of our clock.
_AHEAD: Final = timedelta(seconds=60)
#: A receipt is published late when its validator could not deliver it; older ones are replayed.
_BACK: Final = timedelta(days=2)
_SIGNATURE_CHARS: Final = 130

#: Whether a hotkey signed a text: (hotkey, text, signature in hex).
Verify = Callable[[str, bytes, str], bool]


class LineRefused(Exception):
    """A line is not believed; the text is a short reason, fit for counting."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the lines of one peer's pages.

    A miner's receipts name it and carry both signatures; on a validator's own page (``is_validator``) they
    name that validator, and its signature is enough. ``known`` are the validators whose receipts are of
    interest; empty: those of any.
    """

    peer_hotkey: str
    known: frozenset[str]
    verify: Verify
    is_validator: bool = False

    def receipt(self, line: bytes, now: datetime) -> tuple[Receipt, bytes]:
        """A line of the wire's pages, and the text that is signed.

        Raises:
            LineRefused: not a receipt, or not to be believed.
        """
        value, payload_value = _parsed(line)
        try:
            payload = read_payload(payload_value)
        except ReceiptWrong as error:
            raise LineRefused("malformed") from error
        self._check(payload, now)
        text = signed_text(payload)
        signature = self._validators(value, payload.validator_hotkey, text)
        return Receipt(payload, signature, self._miners(value, text)), text

    def progress(self, line: bytes, now: datetime) -> tuple[ProgressReceipt, bytes]:
        """A line of the pages of progress receipts, and the text that is signed.

        Raises:
            LineRefused: not a progress receipt, or not to be believed.
        """
        value, payload_value = _parsed(line)
        try:
            payload = read_progress(payload_value)
        except ReceiptWrong as error:
            raise LineRefused("malformed") from error
        self._check(payload, now)
        text = signed_text(payload)
        signature = self._validators(value, payload.validator_hotkey, text)
        return ProgressReceipt(payload, signature, self._miners(value, text)), text

    def _check(self, payload: Payload | Any, now: datetime) -> None:  # noqa: ANN401  (any statement)
        issuer = payload.validator_hotkey
        if (issuer if self.is_validator else payload.miner_hotkey) != self.peer_hotkey:
            raise LineRefused("about another peer")
        if self.known and issuer not in self.known:
            raise LineRefused("of an unknown validator")
        if not now - _BACK <= payload.timestamp <= now + _AHEAD:
            raise LineRefused("absurdly dated")

    def _validators(self, value: dict[str, Any], hotkey: str, text: bytes) -> str:
        signature = _signature(value.get("validator_signature"))
        if not signature:
            raise LineRefused("half-signed")
        if not self.verify(hotkey, text, signature):
            raise LineRefused("forged")
        return signature

    def _miners(self, value: dict[str, Any], text: bytes) -> str | None:
        if self.is_validator:
            return None
        signature = _signature(value.get("miner_signature"))
        if not signature:
            raise LineRefused("half-signed")
        if not self.verify(self.peer_hotkey, text, signature):
            raise LineRefused("forged")
        return signature


def _parsed(line: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LineRefused("not JSON") from error
    payload = value.get("payload") if isinstance(value, dict) else None
    if not isinstance(payload, dict):
        raise LineRefused("not a receipt")
    return value, payload


def _signature(value: object) -> str:
    return value if isinstance(value, str) and len(value) == _SIGNATURE_CHARS else ""
