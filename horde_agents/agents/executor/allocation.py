"""What Nomad tells a holder by its allocation's environment, as settings of ours. Pure.

The job template gives class and node; which devices the allocation got, and its identity, only Nomad knows.
"""

from collections.abc import Mapping
from typing import Final

from horde_agents.jobs.slot_ids import cpu_slot_id, gpu_slot_id

_PREFIX: Final = "HORDE_EXECUTOR_"
_DEVICES: Final = "NVIDIA_VISIBLE_DEVICES"
#: As the job file says how many devices a holder has.
_COUNT: Final = "NOMAD_META_gpus"
#: What stands there where a task has no device.
_NO_DEVICE: Final = frozenset({"", "void", "none"})


class AllocationWrong(Exception):
    """The environment is none that a holder can serve; the text names what is missing."""


def allocation_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with the settings that follow from it; as it is outside of Nomad.

    Raises:
        AllocationWrong: inside of Nomad, without what the job template has to give, or with other GPUs.
    """
    if "NOMAD_ALLOC_ID" not in environ:
        return dict(environ)
    devices = _devices(environ)
    node = _wanted(environ, f"{_PREFIX}NODE_NAME")
    if devices:
        slot_id = gpu_slot_id(node, devices)
    else:
        number = f"{_wanted(environ, f'{_PREFIX}SHORT_CODE')}{_wanted(environ, 'NOMAD_META_index')}"
        slot_id = cpu_slot_id(node, number)
    return {
        **environ,
        f"{_PREFIX}SLOT_ID": slot_id,
        f"{_PREFIX}GPU_UUIDS": ",".join(sorted(devices)),
        f"{_PREFIX}ALLOCATION_ID": environ["NOMAD_ALLOC_ID"],
        f"{_PREFIX}MINERS": _wanted(environ, "NOMAD_META_miners"),
        f"{_PREFIX}MEANT_FOR": environ.get("NOMAD_META_attempt", ""),
    }


def _devices(environ: Mapping[str, str]) -> list[str]:
    """The devices of this allocation, as the plugin named them.

    Nomad hands its own environment down, and where it runs in a container that may name GPUs, too: those
    belong to nobody. Taken for a slot's, two holders would have the same GPU.
    """
    count, given = environ.get(_COUNT, ""), environ.get(_DEVICES, "")
    if count == "0":
        return []
    devices = [uuid for uuid in given.split(",") if uuid not in _NO_DEVICE]
    if count and count != str(len(devices)):
        raise AllocationWrong(
            f"This holder's class has {count} GPUs, and {_DEVICES} is {given!r}. See on the node: "
            "nvidia-smi, journalctl -u nomad."
        )
    return devices


def _wanted(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise AllocationWrong(f"Nomad gave this holder no {name}: its job is not made from holder.nomad.hcl.")
    return value
