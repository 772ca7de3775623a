"""Nomad's lists as the facts that the keeper's pure rules take."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from horde_agents.clients.nomad import Nomad
from horde_agents.clients.nomad_rows import Allocation, Child, GpuNode
from horde_agents.jobs.classes import ExecutorClass
from horde_agents.jobs.slot_ids import cpu_slot_id
from horde_agents.placement.holders import ALL, Holder, capacity
from horde_agents.placement.records import Slot
from horde_agents.placement.register import slot_of
from horde_agents.placement.standings import MEANINGS, AllocationFacts, child_standing

#: What the names of the holders' Nomad jobs begin with.
PREFIX = "holder-"
#: Digits of an index or a generation at most.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Picture:
    """All holders of one horde, and the nodes they may be on.

    ``strays`` are living children that no keeper has dispatched: their meta names no place. ``told`` are
    children that have been stopped; their allocations may take a while to end.
    """

    holders: tuple[Holder, ...]
    nodes: tuple[GpuNode, ...]
    strays: tuple[str, ...] = ()
    told: frozenset[str] = frozenset()

    def kept(self, catalogue: Mapping[str, ExecutorClass]) -> dict[str, tuple[Slot, Holder]]:
        """The slots that holders keep now, as records without an owner."""
        found = {}
        for holder in self.holders:
            if MEANINGS[holder.standing].keeps_slot and holder.allocation_id:
                number = f"{catalogue[holder.executor_class].short_code}{holder.index}"
                slot = slot_of(holder, cpu_slot_id(holder.node, number))
                found[slot.slot_id] = (slot, holder)
        return found

    def draining_nodes(self) -> frozenset[str]:
        """Names of nodes that an operator drains."""
        return frozenset(node.name for node in self.nodes if node.draining)


def parent_id(row: ExecutorClass) -> str:
    """The Nomad job whose dispatches are the class's holders."""
    return f"{PREFIX}{row.short_code}"


async def take_picture(
    nomad: Nomad, horde: str, node_pool: str, catalogue: Mapping[str, ExecutorClass]
) -> Picture:
    """Read Nomad's lists.

    Raises:
        ServerAway, ServerDenied: as it says.
    """
    children = [
        child
        for child in await nomad.children(PREFIX)
        if child.meta.get("horde") == horde and not child.meta.get("attempt")
    ]
    newest: dict[str, Allocation] = {}
    for allocation in await nomad.allocations(PREFIX):
        known = newest.get(allocation.job_id)
        if known is None or known.created_at < allocation.created_at:
            newest[allocation.job_id] = allocation
    names = {parent_id(row): row.name for row in catalogue.values()}
    ours = [child for child in children if child.parent_id in names]
    placed = [child for child in ours if _is_placed(child)]
    holders = [_holder(child, newest.get(child.job_id), names[child.parent_id]) for child in placed]
    strays = [child.job_id for child in ours if not (_is_placed(child) or child.stopped or _is_dead(child))]
    told = frozenset(child.job_id for child in ours if child.stopped)
    return Picture(tuple(holders), tuple(await nomad.nodes(node_pool)), tuple(strays), told)


def _holder(child: Child, allocation: Allocation | None, executor_class: str) -> Holder:
    standing = child_standing(
        facts_of(allocation) if allocation else None,
        stopped=child.stopped,
        dead=_is_dead(child),
        blocked=child.waiting > 0,
    )
    return Holder(
        child.job_id,
        executor_class,
        int(child.meta["index"]),
        int(child.meta["generation"]),
        standing,
        allocation.allocation_id if allocation else "",
        allocation.node_name if allocation else "",
        allocation.devices if allocation else (),
    )


def _is_dead(child: Child) -> bool:
    return child.status == "dead"


def _is_placed(child: Child) -> bool:
    """Whether it names its place; a person may have dispatched it by hand with anything in its meta."""
    return all(
        text.isascii() and text.isdecimal() and len(text) <= _DIGITS
        for text in (child.meta.get("index", ""), child.meta.get("generation", ""))
    )


def facts_of(allocation: Allocation) -> AllocationFacts:
    """What the table of standings asks."""
    return AllocationFacts(
        allocation.client_status, allocation.desired_status, allocation.description, allocation.exit_code
    )


def wanted_counts(
    configured: Mapping[str, int],
    wishes: Mapping[str, int | None],
    nodes: Sequence[GpuNode],
    catalogue: Mapping[str, ExecutorClass],
    holders: Iterable[Holder] = (),
) -> dict[str, int]:
    """Holders per class: as the operator wishes now, else as configured; ``ALL`` is what the nodes hold.

    Nodes that take none now (drained, disconnected) hold what runs there: else ``holders`` of healthy nodes
    would be too many.
    """
    open_nodes = {node.name for node in nodes if _takes_holders(node)}
    elsewhere = Counter(
        holder.executor_class
        for holder in holders
        if MEANINGS[holder.standing].keeps_slot and holder.node not in open_nodes
    )
    wanted = {}
    for name, count in configured.items():
        wish = wishes.get(name)
        number = count if wish is None else wish
        all_of_it = room_for(catalogue[name], nodes) + elsewhere[name]
        wanted[name] = all_of_it if number == ALL else number
    return wanted


def room_for(row: ExecutorClass, nodes: Iterable[GpuNode]) -> int:
    """How many holders of a class the devices of these nodes allow."""
    matching = {
        node.name: sum(
            1 for device in node.devices if device.healthy and row.fits(device.model, device.memory_mib)
        )
        for node in nodes
        if _takes_holders(node)
    }
    return capacity(row.gpus, matching) if row.gpus else len(matching)


def _takes_holders(node: GpuNode) -> bool:
    return node.status == "ready" and node.eligible
