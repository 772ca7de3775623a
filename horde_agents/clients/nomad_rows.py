"""Rows of Nomad's lists as the horde reads them: dispatched jobs, allocations, nodes, evaluations. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Child:
    """A dispatched job. ``waiting`` is how many of its allocations Nomad could not place."""

    job_id: str
    parent_id: str
    status: str
    stopped: bool
    meta: Mapping[str, str]
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Allocation:
    """One allocation; ``created_at`` is Nomad's create index, ``devices`` the ids of those it has."""

    allocation_id: str
    job_id: str
    node_name: str
    client_status: str
    desired_status: str
    description: str
    created_at: int
    exit_code: int | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """One device of a node, with the attributes that its plugin reports."""

    device_id: str
    model: str
    memory_mib: int
    healthy: bool


@dataclass(frozen=True, slots=True)
class GpuNode:
    """One Nomad client machine."""

    node_id: str
    name: str
    status: str
    draining: bool
    eligible: bool
    devices: tuple[GpuDevice, ...]


def child_of(row: Mapping[str, Any]) -> Child:
    """A row of Nomad's list of jobs."""
    groups = ((row.get("JobSummary") or {}).get("Summary") or {}).values()
    waiting = sum(group.get("Queued", 0) for group in groups)
    return Child(row["ID"], row["ParentID"], row["Status"], bool(row["Stop"]), row.get("Meta") or {}, waiting)


def allocation_of(row: Mapping[str, Any]) -> Allocation:
    """A row of its allocations; lists that have no devices give none."""
    tasks = ((row.get("AllocatedResources") or {}).get("Tasks") or {}).values()
    devices = [
        device_id
        for task in tasks
        for device in task.get("Devices") or ()
        for device_id in device["DeviceIDs"]
    ]
    return Allocation(
        row["ID"],
        row["JobID"],
        row["NodeName"],
        row["ClientStatus"],
        row["DesiredStatus"],
        "; ".join(filter(None, (row.get("ClientDescription"), row.get("DesiredDescription")))),
        row["CreateIndex"],
        _exit_code(row.get("TaskStates") or {}),
        tuple(sorted(devices)),
    )


def node_of(row: Mapping[str, Any]) -> GpuNode:
    """A row of its nodes."""
    groups = (row.get("NodeResources") or {}).get("Devices") or ()
    devices = [
        GpuDevice(
            instance["ID"],
            group["Name"],
            int(((group.get("Attributes") or {}).get("memory") or {}).get("Int") or 0),
            bool(instance["Healthy"]),
        )
        for group in groups
        for instance in group["Instances"]
    ]
    return GpuNode(
        row["ID"],
        row["Name"],
        row["Status"],
        bool(row["Drain"]),
        row["SchedulingEligibility"] == "eligible",
        tuple(devices),
    )


def reasons_in(evaluation: Mapping[str, Any]) -> list[str]:
    """What a blocked evaluation says that no node has."""
    found = []
    for failed in (evaluation.get("FailedTGAllocs") or {}).values():
        found += [
            f"{count} nodes lack {what}" for what, count in (failed.get("ConstraintFiltered") or {}).items()
        ]
        found += [
            f"{what} exhausted on {count} nodes"
            for what, count in (failed.get("DimensionExhausted") or {}).items()
        ]
        if not failed.get("NodesEvaluated"):
            found.append("the node pool has no ready node")
    return found


def _exit_code(tasks: Mapping[str, Any]) -> int | None:
    for task in tasks.values():
        for event in reversed(task.get("Events") or ()):
            if event["Type"] == "Terminated":
                return int(event.get("Details", {}).get("exit_code", event.get("ExitCode", 0)))
    return None
