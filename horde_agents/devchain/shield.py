"""The chain's MEV shield: registrations come encrypted to a key that the chain publishes."""

from dataclasses import dataclass, field
from typing import Final

from Crypto.Cipher import ChaCha20_Poly1305
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

_KEY_HASH_BYTES: Final = 16
_NONCE_BYTES: Final = 24
_TAG_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Shield:
    """One key pair for the life of the chain; the seed is part of its saved state."""

    seed: bytes = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """What clients encrypt to."""
        return self._key().public_key().public_bytes_raw()

    def open(self, blob: bytes) -> bytes:
        """The extrinsic inside ``blob``.

        Raises:
            ValueError: not encrypted to this key, or damaged.
        """
        size = int.from_bytes(blob[_KEY_HASH_BYTES : _KEY_HASH_BYTES + 2], "little")
        at = _KEY_HASH_BYTES + 2
        encapsulated, nonce = blob[at : at + size], blob[at + size : at + size + _NONCE_BYTES]
        body = blob[at + size + _NONCE_BYTES :]
        cipher = ChaCha20_Poly1305.new(key=self._key().decapsulate(encapsulated), nonce=nonce)
        return bytes(cipher.decrypt_and_verify(body[:-_TAG_BYTES], body[-_TAG_BYTES:]))

    def _key(self) -> MLKEM768PrivateKey:
        return MLKEM768PrivateKey.from_seed_bytes(self.seed)
