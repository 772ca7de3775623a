"""How a slot is called: its node and its hardware, so that a device has one name whoever holds it. Pure."""

from collections.abc import Sequence


def gpu_slot_id(node: str, device_uuids: Sequence[str]) -> str:
    """``gpu7:GPU-1a2b`` or, with several devices, ``gpu7:GPU-1a2b+GPU-3c4d``, sorted."""
    return f"{node}:{'+'.join(sorted(device_uuids))}"


def cpu_slot_id(node: str, number: str) -> str:
    """``gpu7:cpu-0``: a slot without a device; ``number`` tells those of a node apart."""
    return f"{node}:cpu-{number}"
