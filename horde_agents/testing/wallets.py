"""Writes hotkey files as Bittensor wallets keep them, for agents under test."""

import json
from hashlib import blake2b
from pathlib import Path

from horde_agents.protocol.signing import KeypairSigner


def hotkey_file(folder: Path, name: str) -> tuple[Path, KeypairSigner]:
    """An unencrypted hotkey file whose key follows from ``name``, and its signer."""
    seed = "0x" + blake2b(name.encode(), digest_size=32).hexdigest()
    path = folder / f"{name}.hotkey"
    path.write_text(json.dumps({"secretSeed": seed}))
    path.chmod(0o600)
    return path, KeypairSigner.from_hotkey_file(path)
