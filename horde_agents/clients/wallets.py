"""Writes Bittensor wallets for development: unencrypted keys, in the layout that the SDK and btcli read."""

import json
import os
import secrets
from pathlib import Path

from bittensor_core import Keypair

from horde_agents.protocol.signing import Hotkey


def create_hotkey_file(path: Path, seed_hex: str | None = None) -> Hotkey:
    """Write a key file that only its owner may read, from ``seed_hex`` (64 digits) or a fresh seed."""
    seed = seed_hex or secrets.token_hex(32)
    keypair = Keypair.create_from_seed(bytes.fromhex(seed))
    public = "0x" + bytes(keypair.public_key).hex()
    content = {
        "accountId": public,
        "publicKey": public,
        "privateKey": None,
        "secretPhrase": None,
        "secretSeed": "0x" + seed,
        "ss58Address": keypair.ss58_address,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
        json.dump(content, sink)
    return Hotkey(str(keypair.ss58_address))
