"""How many holders of a class the horde wants, whatever its nodes go through."""

from dataclasses import replace

import pytest

from horde_agents.agents.miner.nomad.picture import wanted_counts
from horde_agents.clients.nomad_rows import GpuDevice, GpuNode
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.placement.holders import ALL, Holder, KeepingPlan, keeping_plan
from horde_agents.placement.standings import Standing

CLASS = "always_on.gpu.a6000"
DEVICES = tuple(GpuDevice(f"GPU-{letter}", "NVIDIA RTX A6000", 49140, healthy=True) for letter in "ab")
NODES = [
    GpuNode(name, name, "ready", draining=False, eligible=True, devices=DEVICES) for name in ("gpu1", "gpu2")
]
#: The lower places are on the node to which something happens.
HOLDERS = [
    Holder(f"holder/{index}", CLASS, index, 1, Standing.RUNNING, f"alloc-{index}", node)
    for index, node in enumerate(("gpu1", "gpu1", "gpu2", "gpu2"))
]


def plan(nodes: list[GpuNode], holders: list[Holder], configured: int = ALL) -> KeepingPlan:
    wanted = wanted_counts({CLASS: configured}, {}, nodes, CATALOGUE, holders)
    return keeping_plan(wanted, holders)


def test_all_is_what_the_devices_allow() -> None:
    assert len(plan(NODES, []).dispatches) == 4
    assert plan(NODES, HOLDERS) == KeepingPlan()


@pytest.mark.parametrize(
    ("change", "standing"),
    [
        ({"status": "disconnected"}, Standing.UNKNOWN),
        ({"status": "down"}, Standing.UNKNOWN),
        ({"draining": True, "eligible": False}, Standing.RUNNING),
        ({"eligible": False}, Standing.RUNNING),
    ],
)
def test_a_node_that_takes_no_holders_costs_no_healthy_one(
    change: dict[str, object], standing: Standing
) -> None:
    nodes = [replace(NODES[0], **change), NODES[1]]  # type: ignore[arg-type]
    holders = [replace(each, standing=standing) for each in HOLDERS[:2]] + HOLDERS[2:]
    assert plan(nodes, holders) == KeepingPlan()


@pytest.mark.parametrize("standing", [Standing.STOPPED, Standing.LOST])
def test_what_ended_with_its_node_is_not_replaced_elsewhere(standing: Standing) -> None:
    nodes = [replace(NODES[0], draining=True, eligible=False), NODES[1]]
    holders = [replace(each, standing=standing) for each in HOLDERS[:2]] + HOLDERS[2:]
    assert plan(nodes, holders) == KeepingPlan()


def test_with_a_count_what_is_missing_waits_for_a_place() -> None:
    holders = [replace(each, standing=Standing.LOST) for each in HOLDERS[:2]] + HOLDERS[2:]
    dispatches = plan([NODES[1]], holders, 4).dispatches
    assert [(each.index, each.generation) for each in dispatches] == [(0, 2), (1, 2)]
