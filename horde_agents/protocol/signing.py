"""sr25519 signatures over ComputeHorde's texts, by hotkey (wire note 0.6). Never imported by the executor."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NewType, Protocol

from bittensor_core import Keypair

Hotkey = NewType("Hotkey", str)

_SIGNATURE_BYTES = 64
#: The 48 zeros by which validators address their trusted miner.
TRUSTED_MINER_HOTKEY = Hotkey("0" * 48)


class Signer(Protocol):
    """Whatever can sign as one hotkey."""

    @property
    def hotkey(self) -> Hotkey:
        """The signer's address, ss58 format 42."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes behind the address."""

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of an sr25519 signature."""


class WalletUnreadable(Exception):
    """A wallet's hotkey file is missing, encrypted or damaged; the text names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class KeypairSigner:
    """Signs with a key held in this process."""

    _keypair: Keypair = field(repr=False)

    @classmethod
    def from_uri(cls, uri: str) -> "KeypairSigner":
        """A development key, e.g. ``//Alice``."""
        return cls(Keypair.create_from_uri(uri))

    @classmethod
    def from_hotkey_file(cls, path: Path) -> "KeypairSigner":
        """The key of a Bittensor wallet's unencrypted hotkey file.

        Raises:
            WalletUnreadable: no such file, encrypted, or not a hotkey file.
        """
        try:
            text = path.read_bytes()
        except OSError as error:
            raise WalletUnreadable(f"Hotkey file {path} cannot be read: {error.strerror}.") from error
        if text.startswith(b"$NACL"):
            raise WalletUnreadable(f"Hotkey file {path} is encrypted; agents need an unencrypted hotkey.")
        try:
            return cls(_keypair_of(json.loads(text)))
        except (ValueError, KeyError, TypeError) as error:
            raise WalletUnreadable(f"{path} is not a Bittensor hotkey file.") from error

    @property
    def keypair(self) -> Keypair:
        """The key itself, for the chain's own library."""
        return self._keypair

    @property
    def hotkey(self) -> Hotkey:
        return Hotkey(str(self._keypair.ss58_address))

    @property
    def public_key(self) -> bytes:
        return bytes(self._keypair.public_key)

    def sign(self, message: bytes) -> bytes:
        return bytes(self._keypair.sign(message))


def _keypair_of(fields: dict[str, str | None]) -> Keypair:
    if seed := fields.get("secretSeed"):
        return Keypair.create_from_seed(bytes.fromhex(seed.removeprefix("0x")))
    return Keypair.create_from_private_key(bytes.fromhex((fields["privateKey"] or "").removeprefix("0x")))


def verify(hotkey: str, message: bytes, signature: bytes) -> bool:
    """True when ``hotkey`` signed ``message``, or ``<Bytes>message</Bytes>`` as browser wallets do."""
    if len(signature) != _SIGNATURE_BYTES:
        return False
    try:
        keypair = Keypair(ss58_address=hotkey)
        return bool(keypair.verify(message, signature))
    except (ValueError, TypeError):
        return False


def is_hotkey(text: str) -> bool:
    """True for a well-formed ss58 address."""
    try:
        Keypair(ss58_address=text)
    except (ValueError, TypeError):
        return False
    return True


def hotkey_of(public_key: bytes) -> Hotkey:
    """The address of 32 public-key bytes."""
    return Hotkey(str(Keypair(public_key=public_key).ss58_address))


def to_hex(signature: bytes) -> str:
    """``0x`` and 128 hex digits, the form of signatures in frames and receipts."""
    return "0x" + signature.hex()


def from_hex(text: str) -> bytes:
    """Read ``to_hex``'s form; anything else gives no bytes, which verifies as nobody's signature."""
    if not text.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        return b""
