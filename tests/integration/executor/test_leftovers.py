"""A container that a killed holder has left ends before any of its GPUs serves again."""

from uuid import uuid4

import pytest

from horde_agents.agents.executor.app import free_slot
from horde_agents.agents.executor.container import JobContainer
from horde_agents.agents.executor.workspace import Workspace
from tests.fixtures.executor import Slot, containers, docker

pytestmark = pytest.mark.docker


def with_gpus(slot: Slot, *gpus: str) -> Slot:
    """A slot of these GPUs under a work directory of its own."""
    return slot.with_settings(
        slot_id=f"test:{'+'.join(gpus)}",
        gpu_uuids=list(gpus),
        gpus_are_fake=True,
        work_dir=slot.settings.work_dir / "-".join(gpus),
    )


async def left_behind(slot: Slot) -> str:
    """A container just as the slot's executor starts one, without the executor."""
    workspace = Workspace.make(slot.settings.work_dir, slot.settings.slot_id)
    job = JobContainer(slot.engine, slot.settings, workspace, None)  # type: ignore[arg-type]  # never started
    spec = slot.sh("sleep 600")
    container = await slot.engine.create(job._plan(spec, await slot.engine.image(spec.image)))
    docker("start", container)
    return container


async def test_next_slot_with_any_of_its_gpus_ends_a_leftover_container(slot: Slot) -> None:
    one, two, three = (f"GPU-{uuid4()}" for _ in range(3))
    pair, single, other = with_gpus(slot, one, two), with_gpus(slot, two), with_gpus(slot, three)
    container = await left_behind(pair)
    await free_slot(slot.engine, other.settings)
    assert containers(f"horde.device.{one}") == [container]
    await free_slot(slot.engine, single.settings)
    assert containers(f"horde.device.{one}") == []


async def test_a_wider_slot_ends_the_leftovers_of_all_its_gpus(slot: Slot) -> None:
    one, two = (f"GPU-{uuid4()}" for _ in range(2))
    for gpu in (one, two):
        await left_behind(with_gpus(slot, gpu))
    await free_slot(slot.engine, with_gpus(slot, one, two).settings)
    assert containers(f"horde.device.{one}") == containers(f"horde.device.{two}") == []
