"""Signed extrinsics: read, checked against era, signature and nonce, as a node's pool does."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bittensor_core import Keypair, Runtime

from horde_agents.devchain import scale

_SIGNATURE_KINDS: Final = {"Ed25519": 0, "Sr25519": 1}
#: Bytes of a signed extrinsic's head: version, address, signature kind and signature.
_HEAD_BYTES: Final = 1 + 33 + 1 + 64

Watcher = Callable[[object], None]


class Invalid(Exception):
    """The pool refuses an extrinsic; the text is the node's own wording, which SDKs read."""


@dataclass(frozen=True, slots=True)
class Extrinsic:
    """A checked extrinsic; ``call`` is decoded."""

    raw: bytes = field(repr=False)
    signer: str
    nonce: int
    call: dict[str, Any]
    watch: Watcher | None = None


class Headers(Protocol):
    """What signatures refer to."""

    genesis_hash: bytes

    def hash_at(self, number: int) -> bytes | None:
        """The hash of a block that is not too old."""

    @property
    def number(self) -> int:
        """The newest block's number."""


def read(runtime: Runtime, raw: bytes, headers: Headers, watch: Watcher | None = None) -> Extrinsic:
    """Decode and check a signed extrinsic.

    Raises:
        Invalid: unreadable, an era that has passed, or a wrong signature.
    """
    try:
        decoded = runtime.decode_extrinsic(raw, True)
        address = decoded["address"]
        signer = address if isinstance(address, str) else address["Id"]
        kind, signature = next(iter(decoded["signature"].items()))
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise Invalid("Transaction cannot be decoded") from error
    parts = _signed_parts(decoded, headers)
    extra, _ = runtime.signature_payload_parts(**parts)
    _, start = scale.read_compact(raw)
    payload = runtime.signature_payload(raw[start + _HEAD_BYTES + len(extra) :], **parts)
    keypair = Keypair(ss58_address=signer, crypto_type=_SIGNATURE_KINDS.get(kind, 1))
    if not keypair.verify(bytes(payload), bytes.fromhex(signature.removeprefix("0x"))):
        raise Invalid("Transaction has a bad signature")
    return Extrinsic(raw, str(signer), int(decoded["nonce"]), decoded["call"], watch)


def _signed_parts(decoded: dict[str, Any], headers: Headers) -> dict[str, Any]:
    era, era_hash = _era(decoded["era"], headers)
    return {
        "era": era,
        "nonce": decoded["nonce"],
        "tip": decoded["tip"],
        "tip_asset_id": None,
        "genesis_hash": headers.genesis_hash,
        "era_block_hash": era_hash,
    }


def _era(era: Any, headers: Headers) -> tuple[Any, bytes]:  # noqa: ANN401  (as the codec gives it)
    if era in {"00", "0x00", None} if isinstance(era, str | None) else False:
        return "00", headers.genesis_hash
    period, phase = era
    birth = (max(headers.number, phase) - phase) // period * period + phase
    known = headers.hash_at(birth) if birth <= headers.number else None
    if known is None:
        raise Invalid("Transaction has an ancient birth block")
    return {"period": period, "phase": phase}, known


@dataclass(slots=True)
class Pool:
    """Extrinsics waiting for a block; the next nonce of an account counts those that wait."""

    _waiting: list[Extrinsic] = field(default_factory=list)

    def next_nonce(self, signer: str, on_chain: int) -> int:
        """What the account's next extrinsic must carry."""
        return max([on_chain, *(item.nonce + 1 for item in self._waiting if item.signer == signer)])

    def add(self, extrinsic: Extrinsic, on_chain: int) -> None:
        """Let an extrinsic wait for its block; one with a later nonce waits for those before it.

        Raises:
            Invalid: imported already, or its nonce has been used.
        """
        if any(item.raw == extrinsic.raw for item in self._waiting):
            raise Invalid("Transaction is already imported")
        same = [i for i in self._waiting if (i.signer, i.nonce) == (extrinsic.signer, extrinsic.nonce)]
        if extrinsic.nonce < on_chain or same:
            raise Invalid("Transaction is outdated")
        self._waiting.append(extrinsic)
        if extrinsic.watch:
            extrinsic.watch("ready")

    def take(self) -> list[Extrinsic]:
        """Everything that waits, each account's extrinsics by nonce."""
        taken = sorted(self._waiting, key=lambda item: item.nonce)
        self._waiting = []
        return taken

    def give_back(self, extrinsic: Extrinsic) -> None:
        """Its nonce is still ahead of its account."""
        self._waiting.append(extrinsic)
