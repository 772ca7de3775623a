"""Signed HTTP requests by hotkey: the ``btauth/1`` of ``bittensor.http_auth``, without its imports.

Eight lines are signed: protocol, scheme, method, request target with its query, sha256 of the body, nonce,
sender, receiver. Ours takes sr25519 alone, and only requests that name their receiver (chain notes 4).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from horde_agents.protocol.signing import Hotkey, Signer, from_hex, to_hex, verify

VERSION_HEADER: Final = "X-Bittensor-Version"
HOTKEY_HEADER: Final = "X-Bittensor-Hotkey"
RECEIVER_HEADER: Final = "X-Bittensor-Receiver"
NONCE_HEADER: Final = "X-Bittensor-Nonce"
CRYPTO_HEADER: Final = "X-Bittensor-Crypto"
SIGNATURE_HEADER: Final = "X-Bittensor-Signature"

#: How old a request may be, and how far ahead its sender's clock, as the SDK has it.
BACK_NS: Final = 10_000_000_000
AHEAD_NS: Final = 2_000_000_000

_PROTOCOL: Final = "btauth/1"
_SCHEME: Final = "sr25519"
_MOST_NONCE_DIGITS: Final = 20
_MOST_HOTKEY: Final = 64


class AuthWrong(Exception):
    """A signed request is not believed; ``code`` says why in one word of the API's table of errors."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: the method and the request target as it went over the wire; reads have no body."""

    method: str
    target: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Claim:
    """The headers of a signed request, read but not believed yet."""

    hotkey: Hotkey
    receiver: str
    nonce_ns: int
    signature: bytes


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether the request means to be signed."""
    return HOTKEY_HEADER in headers or SIGNATURE_HEADER in headers


def sign(signer: Signer, asked: Asked, receiver: str, nonce_ns: int) -> dict[str, str]:
    """The headers of a signed request; each try needs a nonce of its own."""
    claim = Claim(signer.hotkey, receiver, nonce_ns, b"")
    return {
        VERSION_HEADER: "1",
        HOTKEY_HEADER: signer.hotkey,
        RECEIVER_HEADER: receiver,
        NONCE_HEADER: str(nonce_ns),
        SIGNATURE_HEADER: to_hex(signer.sign(_payload(asked, claim))),
    }


def read_claim(headers: Mapping[str, str]) -> Claim:
    """Read the headers.

    Raises:
        AuthWrong: one is missing or malformed.
    """
    if headers.get(VERSION_HEADER) != "1":
        raise AuthWrong("auth.malformed", f"{VERSION_HEADER} is not 1; sign as btauth/1.")
    if headers.get(CRYPTO_HEADER, _SCHEME) != _SCHEME:
        raise AuthWrong("auth.malformed", f"{CRYPTO_HEADER} is not {_SCHEME}; sign with an {_SCHEME} key.")
    nonce = headers.get(NONCE_HEADER, "")
    if not (nonce.isascii() and nonce.isdigit() and len(nonce) <= _MOST_NONCE_DIGITS):
        raise AuthWrong("auth.malformed", f"{NONCE_HEADER} is no whole number of nanoseconds.")
    hotkey = headers.get(HOTKEY_HEADER, "")
    if not 0 < len(hotkey) <= _MOST_HOTKEY:
        raise AuthWrong("auth.malformed", f"{HOTKEY_HEADER} is no ss58 address.")
    signature = from_hex(headers.get(SIGNATURE_HEADER, ""))
    return Claim(Hotkey(hotkey), headers.get(RECEIVER_HEADER, ""), int(nonce), signature)


def check_claim(claim: Claim, asked: Asked, own_hotkey: str, now_ns: int) -> None:
    """Believe the claim, except that it may be a repetition of one believed before.

    Raises:
        AuthWrong: meant for another, too old, from the future, or not signed by its hotkey.
    """
    if claim.receiver != own_hotkey:
        raise AuthWrong(
            "auth.wrong_receiver", f"The request is signed for {claim.receiver or 'nobody'!r:.66}."
        )
    age_ns = now_ns - claim.nonce_ns
    if not -AHEAD_NS <= age_ns <= BACK_NS:
        raise AuthWrong(
            "auth.stale",
            f"The request was signed {age_ns / 1e9:.1f} s before the clock here; from {AHEAD_NS / 1e9:.0f} s "
            f"ahead to {BACK_NS / 1e9:.0f} s back is taken. Set the clocks by NTP.",
        )
    if not verify(claim.hotkey, _payload(asked, claim), claim.signature):
        raise AuthWrong("auth.signature_invalid", "The signature is not the hotkey's over this request.")


def _payload(asked: Asked, claim: Claim) -> bytes:
    lines = (
        _PROTOCOL,
        _SCHEME,
        asked.method.upper(),
        asked.target,
        hashlib.sha256(asked.body).hexdigest(),
        str(claim.nonce_ns),
        claim.hotkey,
        claim.receiver,
    )
    return "\n".join(lines).encode("utf-8", "surrogateescape")
