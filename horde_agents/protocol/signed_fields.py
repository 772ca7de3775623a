"""What a user's signature covers, byte for byte (wire notes A.3 and B.8.2).

The payload is taken from the parsed JSON object with its key order kept; never from a re-built model.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from horde_agents.protocol.signing import Hotkey, Signer, verify

_TIMESTAMP_BYTES = 8
_MAX_TIMESTAMP_NS = 2**63 - 1
_TIMESTAMP_DIGITS = len(str(_MAX_TIMESTAMP_NS))


class Scope(StrEnum):
    """Which part of a request is signed."""

    SIGNED_FIELDS = "SignedFields"
    FULL_REQUEST = "FullRequest"


class SignatureWrong(Exception):
    """A signature is absent, malformed, stale or does not verify; ``code`` is documented."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Signature:
    """A user's signature as it travels in headers and in V2JobRequest; ``signature`` is base64 text."""

    signatory: Hotkey
    timestamp_ns: int
    signature: str
    scope: Scope = Scope.SIGNED_FIELDS

    def as_wire(self) -> dict[str, Any]:
        """The object inside V2JobRequest and V0JobCheated (wire note B.5.4)."""
        return {
            "signature_type": "bittensor",
            "signatory": self.signatory,
            "timestamp_ns": self.timestamp_ns,
            "signature": self.signature,
            "signature_scope": self.scope.value,
        }

    def as_headers(self) -> dict[str, str]:
        """The headers of a signed request (wire note A.3.1)."""
        return {
            "X-CH-Signature-Type": "bittensor",
            "X-CH-Signatory": self.signatory,
            "X-CH-Timestamp-NS": str(self.timestamp_ns),
            "X-CH-Signature": self.signature,
            "X-CH-Signature-Scope": self.scope.value,
        }


#: Signed keys in their order, with the value that stands for an absent one (wire note A.3.4).
_VIEW: Final[Mapping[str, Any]] = {
    "executor_class": None,
    "docker_image": "",
    "args": [],
    "env": {},
    "use_gpu": False,
    "artifacts_dir": "",
    "on_trusted_miner": False,
    "download_time_limit": 0,
    "execution_time_limit": 0,
    "upload_time_limit": 0,
    "streaming_start_time_limit": 0,
    "streaming_details": None,
    "volumes": [],
    "uploads": [],
}


def signed_view(body: Mapping[str, Any]) -> dict[str, Any]:
    """The signed part of a job request, in canonical key order; nested objects keep their own order."""
    view = {key: body.get(key, default) for key, default in _VIEW.items()}
    view["artifacts_dir"] = view["artifacts_dir"] or ""
    streaming = view["streaming_details"]
    if isinstance(streaming, dict):
        view["streaming_details"] = {"public_key": streaming.get("public_key"), "executor_ip": None}
    return view


def view_of_forwarded(frame: Mapping[str, Any]) -> dict[str, Any]:
    """The signed part of a V2JobRequest, whose volumes and uploads are wrapped (wire note B.5.2)."""
    body = dict(frame)
    body["volumes"] = (frame.get("volume") or {}).get("volumes", [])
    body["uploads"] = (frame.get("output_upload") or {}).get("uploads", [])
    return signed_view(body)


def signed_fields_payload(view: Mapping[str, Any]) -> bytes:
    """Compact JSON, non-ASCII raw, encoded once more as an ASCII JSON string (wire notes A.3.3, A.3.5)."""
    return json.dumps(json.dumps(view, separators=(",", ":"), ensure_ascii=False)).encode()


def full_request_payload(body: Any) -> bytes:  # noqa: ANN401  (any JSON)
    """Sorted, spaced, ASCII JSON, encoded once more as a JSON string (wire note A.3.7)."""
    return json.dumps(json.dumps(body, sort_keys=True)).encode()


def stock_cheat_payload(body: Any) -> bytes:  # noqa: ANN401  (any JSON)
    """The single encoding that stock validators expect of a cheat report (wire note B.8.2)."""
    return json.dumps(body, sort_keys=True).encode()


def sign_payload(signer: Signer, payload: bytes, timestamp_ns: int, scope: Scope) -> Signature:
    """Sign as the SDK does."""
    raw = signer.sign(_digest(payload, timestamp_ns))
    return Signature(signer.hotkey, timestamp_ns, base64.b64encode(raw).decode(), scope)


def verify_payload(signature: Signature, payload: bytes) -> bool:
    """True when the signatory signed ``payload`` at the stated instant."""
    try:
        raw = base64.b64decode(signature.signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return verify(signature.signatory, _digest(payload, signature.timestamp_ns), raw)


def read_headers(headers: Mapping[str, str]) -> Signature:
    """Read a request's signature headers; ``headers`` must be case-insensitive.

    Raises:
        SignatureWrong: absent (``signature.missing``) or malformed (``signature.malformed``).
    """
    try:
        kind = headers["X-CH-Signature-Type"]
        signatory = headers["X-CH-Signatory"]
        timestamp = headers["X-CH-Timestamp-NS"]
        text = headers["X-CH-Signature"]
    except KeyError as error:
        raise SignatureWrong("signature.missing", f"Header {error.args[0]} is required.") from error
    if kind != "bittensor":
        raise SignatureWrong(
            "signature.malformed", f"X-CH-Signature-Type is {kind!r:.40}; only 'bittensor' is known."
        )
    is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _TIMESTAMP_DIGITS
    if not is_number or int(timestamp) > _MAX_TIMESTAMP_NS:
        raise SignatureWrong("signature.malformed", "X-CH-Timestamp-NS is no number of Unix nanoseconds.")
    try:
        scope = Scope(headers.get("X-CH-Signature-Scope", Scope.SIGNED_FIELDS))
    except ValueError as error:
        raise SignatureWrong("signature.malformed", f"{error}; use SignedFields or FullRequest.") from error
    return Signature(Hotkey(signatory), int(timestamp), text, scope)


def check_freshness(signature: Signature, now_ns: int, back_s: float, ahead_s: float) -> None:
    """Refuse a signature made too long ago or in the future.

    Raises:
        SignatureWrong: ``signature.stale``, with the age.
    """
    age_s = (now_ns - signature.timestamp_ns) / 1e9
    if not -ahead_s <= age_s <= back_s:
        raise SignatureWrong(
            "signature.stale",
            f"Signature is {age_s:.0f} s old; {-ahead_s:.0f} to {back_s:.0f} s are taken. Mind the clock.",
        )


def _digest(payload: bytes, timestamp_ns: int) -> bytes:
    return blake2b(timestamp_ns.to_bytes(_TIMESTAMP_BYTES, "big") + payload).digest()
