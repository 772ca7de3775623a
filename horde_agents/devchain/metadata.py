"""The runtime metadata that the development chain serves: where it is kept, and the two patches it needs.

The recording comes with bittensor's own source distribution (``fetch_metadata`` gets it at set-up).
"""

import json
import lzma
import os
from pathlib import Path
from typing import Any, Final

from bittensor_core import Runtime

from horde_agents.devchain import scale

#: The runtime that was recorded.
SPEC_VERSION: Final = 461
TRANSACTION_VERSION: Final = 1
SS58_FORMAT: Final = 42
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "horde"
RECORDED: Final = _CACHE / f"metadata-{SPEC_VERSION}.json.xz"

_IDENTITY_HASHER: Final = 6
#: Storage that SDK 11.3 reads and the recorded runtime lacks: name, value type, default bytes.
_NEWER_ITEMS: Final = (
    ("SubnetEpochConsensus", "u8", b"\x00"),  # 0: Yuma
    ("LastYumaStepBlock", "u64", bytes(8)),
    ("LastPowRegistrationBlock", "u64", bytes(8)),
)


class MetadataMissing(Exception):
    """The recording is not on this machine; the text says how to get it."""


def load_recorded() -> tuple[bytes, bytes]:
    """Metadata in versions 15 and 14, as recorded.

    Raises:
        MetadataMissing: ``make setup`` has not fetched it.
    """
    if not RECORDED.exists():
        raise MetadataMissing(f"{RECORDED} is missing; run: make setup")
    value = json.loads(lzma.decompress(RECORDED.read_bytes()))
    return bytes.fromhex(value["v15"]), bytes.fromhex(value["v14"])


def save_recorded(v15: bytes, v14: bytes) -> None:
    """Keep the recording for every later start."""
    RECORDED.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"v15": v15.hex(), "v14": v14.hex()})
    partial = RECORDED.with_suffix(".partial")
    partial.write_bytes(lzma.compress(text.encode()))
    partial.replace(RECORDED)


def served(recorded: bytes, slot_ms: int) -> bytes:
    """The metadata that clients get: with the newer storage items, and our block time as the slot."""
    return _with_slot(_with_newer_items(recorded), slot_ms)


def runtime(metadata: bytes) -> Runtime:
    """The SDK's own codec over ``metadata``."""
    return Runtime(metadata, SPEC_VERSION, TRANSACTION_VERSION, SS58_FORMAT)


def _with_newer_items(metadata: bytes) -> bytes:
    ids = _type_ids(metadata)
    marker = scale.text("SubtensorModule") + b"\x01" + scale.text("SubtensorModule")
    start = metadata.index(marker) + len(marker)
    count, behind = scale.read_compact(metadata, start)
    entries = b"".join(
        _entry(name, ids["NetUid"], ids[kind], default) for name, kind, default in _NEWER_ITEMS
    )
    return metadata[:start] + scale.compact(count + len(_NEWER_ITEMS)) + entries + metadata[behind:]


def _entry(name: str, key_type: int, value_type: int, default: bytes) -> bytes:
    """One storage map entry with a default, keyed by netuid, without documentation."""
    key = b"\x01" + scale.compact(1) + bytes([_IDENTITY_HASHER]) + scale.compact(key_type)
    value = scale.compact(value_type) + scale.compact(len(default)) + default
    return scale.text(name) + b"\x01" + key + value + scale.compact(0)


def _type_ids(metadata: bytes) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in json.loads(runtime(metadata).registry_json())["types"]:
        definition: dict[str, Any] = item["type"]["def"]
        path = item["type"].get("path") or []
        if "primitive" in definition:
            found[definition["primitive"]] = item["id"]
        elif path and path[-1] == "NetUid":
            found["NetUid"] = item["id"]
    return found


def _with_slot(metadata: bytes, slot_ms: int) -> bytes:
    """Replace the constant Aura.SlotDuration (recorded as 250 ms), by which the SDK tells time."""
    name = metadata.rfind(scale.text("SlotDuration"))
    recorded = b"\x20" + (250).to_bytes(8, "little")
    at = metadata.find(recorded, name, name + 64)
    if name < 0 or at < 0:
        raise MetadataMissing("The recorded metadata has no Aura.SlotDuration; fetch it again: make setup")
    return metadata[: at + 1] + slot_ms.to_bytes(8, "little") + metadata[at + 9 :]
