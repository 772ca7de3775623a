"""Executor tokens: a slot, its class and an expiry, authenticated by the horde's secret. Pure."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass


class TokenWrong(Exception):
    """A token is forged, damaged or expired; the text says which."""


@dataclass(frozen=True, slots=True)
class SlotToken:
    """What a token vouches for; ``expires_at`` is in Unix seconds."""

    slot_id: str
    executor_class: str
    expires_at: int


def issue(token: SlotToken, secret: bytes) -> str:
    """The token's text."""
    body = base64.urlsafe_b64encode(json.dumps(asdict(token)).encode()).decode()
    return f"{body}.{_mac(body, secret)}"


def check(text: str, secret: bytes, now_s: float) -> SlotToken:
    """Read ``issue``'s text.

    Raises:
        TokenWrong: not issued with this secret, or expired.
    """
    body, _, mac = text.partition(".")
    if not text.isascii() or not hmac.compare_digest(mac.encode(), _mac(body, secret).encode()):
        raise TokenWrong("the token was not issued by this horde")
    try:
        token = SlotToken(**json.loads(base64.urlsafe_b64decode(body)))
    except (binascii.Error, ValueError, TypeError) as error:
        raise TokenWrong("the token cannot be read") from error
    if token.expires_at < now_s:
        raise TokenWrong(f"the token of slot {token.slot_id} has expired")
    return token


def _mac(body: str, secret: bytes) -> str:
    return hmac.new(secret, body.encode(), hashlib.sha256).hexdigest()
