"""Where a miner takes executors in, and by which certificate it is known: ``host:port/<sha256 in hex>``."""

import re
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(r"(\[[0-9a-fA-F:]{2,45}\]|[A-Za-z0-9_.-]{1,253}):(\d{1,5})/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class MinerAddress:
    """One miner's listener for executors; whoever shows another certificate there is not that miner."""

    host_and_port: str
    certificate_sha256: bytes

    @classmethod
    def read(cls, text: str) -> "MinerAddress":
        """The address that ``str`` wrote.

        Raises:
            ValueError: of another form.
        """
        match = _FORM.fullmatch(text)
        if match is None or int(match[2]) > 65535:
            raise ValueError(f"{text!r:.100} is no host:port/<SHA-256 of the certificate in lower-case hex>")
        return cls(f"{match[1]}:{match[2]}", bytes.fromhex(match[3]))

    def __str__(self) -> str:
        return f"{self.host_and_port}/{self.certificate_sha256.hex()}"
