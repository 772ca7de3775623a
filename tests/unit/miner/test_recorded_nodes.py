"""What we read of a node with a real GPU, and the classes it serves: Nomad planned the same for each."""

from horde_agents.agents.miner.nomad.picture import room_for
from horde_agents.clients.nomad_rows import GpuDevice, node_of
from horde_agents.jobs.classes import CATALOGUE
from tests.fixtures.recorded_nodes import h200_row

UUID = "GPU-0d5c1f6e-7a41-4b2e-9c53-2f8e6b1a4d70"


def test_its_gpu_is_read_with_model_and_memory() -> None:
    node = node_of(h200_row())
    assert (node.name, node.status, node.draining, node.eligible) == ("gpu-node", "ready", False, True)
    assert node.devices == (GpuDevice(UUID, "NVIDIA H200", 143771, healthy=True),)


def test_it_serves_the_classes_on_which_nomad_would_place_a_holder() -> None:
    node = node_of(h200_row())
    assert {name for name, row in CATALOGUE.items() if row.needs_gpu and room_for(row, [node])} == {
        "spin_up-4min.gpu-24gb",
        "always_on.gpu-24gb",
        "always_on.gpu.h200",
    }
