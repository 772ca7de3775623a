"""What our agents agree on beyond the published wire; a peer that announces nothing sees none of it.

Validator and miner announce by the key ``horde_extensions`` in the authentication and manifest frames,
facilitator and validator by the handshake header ``X-Horde-Extensions``.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

EXTENSIONS_HEADER: Final = "X-Horde-Extensions"


class Extension(StrEnum):
    """A behaviour that both sides of a link must know."""

    CANCEL = "cancel/1"  # a running attempt can be taken back
    RECEIPT_ACK = "receipt-ack/1"  # the miner says which receipts it has stored
    RESUME = "resume/1"  # a job or attempt sent twice is answered, not run twice
    CLASSES = "classes/1"  # a manifest of all classes beside the one of wire classes
    SLOT_DANCE = "slot-dance/1"  # the validator rewards slots that changed their UID
    PROGRESS = "progress/1"  # long jobs leave signed progress receipts
    EXCUSES = "excuses/1"  # a busy decline may show accepted and progress receipts
    SHARES = "shares/1"  # a decline may say that the validator is over its share, with the numbers
    PRICES = "prices/1"  # a manifest may carry a price of each class
    WAITING = "waiting/1"  # a job may name several classes, and wait for capacity
    CHALLENGE = "challenge/1"  # the facilitator's nonce is signed besides the constant


OURS: Final = frozenset(Extension)


def render_extensions(extensions: Iterable[Extension] = OURS) -> list[str]:
    """The announced names, sorted."""
    return sorted(extensions)


def shared(announced: Iterable[object]) -> frozenset[Extension]:
    """The part of ``announced`` that we know too; anything else is left out."""
    known = {extension.value for extension in Extension}
    return frozenset(Extension(name) for name in announced if isinstance(name, str) and name in known)


def shared_from_header(header: str | None) -> frozenset[Extension]:
    """``shared`` for the comma-separated header form."""
    return shared(name.strip() for name in (header or "").split(","))
