"""What the slots' records have to say, given the holders that Nomad has. Pure.

Nomad has the truth about hardware and allocations, the records about owners: a slot keeps its owner
while it is vacant, so that its next holder serves the same UID.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from horde_agents.jobs.slot_ids import gpu_slot_id
from horde_agents.placement.holders import Holder
from horde_agents.placement.records import Slot, SlotState
from horde_agents.placement.standings import MEANINGS, Standing


@dataclass(frozen=True, slots=True)
class Correction:
    """One record to write (``slot``), or to remove (none); ``drift`` says what was wrong."""

    slot_id: str
    slot: Slot | None
    drift: str


def slot_of(holder: Holder, cpu_slot_id: str) -> Slot:
    """The record of a holder's slot as if it had never had an owner."""
    slot_id = gpu_slot_id(holder.node, holder.devices) if holder.devices else cpu_slot_id
    return Slot(
        slot_id,
        holder.executor_class,
        holder.node,
        tuple(sorted(holder.devices)),
        state=SlotState.READY,
        allocation_id=holder.allocation_id,
    )


def corrections(
    slots: Mapping[str, Slot],
    kept: Mapping[str, tuple[Slot, Holder]],
    ended: Iterable[Holder],
    leaving: Mapping[str, str] = MappingProxyType({}),
) -> list[Correction]:
    """What to change in ``slots``.

    ``kept`` are the slots that holders keep now, by id, as ``slot_of`` makes them; ``ended`` are holders
    that are over, by which a vacant slot's record says why it is. ``leaving`` says by allocation why a
    holder is to end.
    """
    endings = {holder.allocation_id: holder for holder in ended if holder.allocation_id}
    found = [*_of_kept(slots, kept, leaving)]
    held_devices = {
        (slot.node, device): slot_id for slot_id, (slot, _) in kept.items() for device in slot.devices
    }
    for slot_id, slot in sorted(slots.items()):
        if slot_id in kept:
            continue
        taken_by = {
            held_devices[slot.node, device] for device in slot.devices if (slot.node, device) in held_devices
        }
        if taken_by:
            found.append(Correction(slot_id, None, f"its devices are in {', '.join(sorted(taken_by))} now"))
        elif slot.allocation_id or slot.state is not SlotState.VACANT:
            found.append(Correction(slot_id, _vacated(slot, endings), "no holder keeps it"))
    return found


def _of_kept(
    slots: Mapping[str, Slot], kept: Mapping[str, tuple[Slot, Holder]], leaving: Mapping[str, str]
) -> Iterable[Correction]:
    for slot_id, (fresh, _) in sorted(kept.items()):
        known = slots.get(slot_id)
        if known is None:
            yield Correction(slot_id, fresh, "it was not recorded")
            continue
        same_holder = known.allocation_id == fresh.allocation_id
        state = known.state if same_holder and known.state is not SlotState.VACANT else SlotState.READY
        wanted = replace(
            known,
            executor_class=fresh.executor_class,
            node=fresh.node,
            devices=fresh.devices,
            allocation_id=fresh.allocation_id,
            state=state,
            job_uuid=known.job_uuid if same_holder else "",
            ended="",
            says="",
            leaving=leaving.get(fresh.allocation_id, ""),
        )
        if wanted != known:
            yield Correction(slot_id, wanted, _drift(known, wanted))


def _drift(known: Slot, wanted: Slot) -> str:
    if known.allocation_id != wanted.allocation_id:
        return "it has another holder"
    if known.leaving != wanted.leaving:
        return (
            f"its holder is to end: {wanted.leaving}" if wanted.leaving else "its holder may stay after all"
        )
    return "it was altered"


def _vacated(slot: Slot, endings: Mapping[str, Holder]) -> Slot:
    ended = endings.get(slot.allocation_id)
    standing = ended.standing if ended else Standing.LOST
    says = MEANINGS[ended.standing].says if ended else "Nomad knows nothing of its holder"
    return replace(
        slot,
        state=SlotState.VACANT,
        allocation_id="",
        job_uuid="",
        ended=standing.value,
        says=says,
        leaving="",
    )
