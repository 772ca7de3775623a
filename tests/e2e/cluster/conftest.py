"""One whole cluster for the stories of this folder; each story heals what it breaks."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from horde_agents.cli.cluster import GPU_CLASS, ClusterHorde, ClusterPlan, cluster_horde
from horde_agents.cli.embedded import restart_agent
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.clients.nomad import Nomad
from horde_agents.testing.consul_server import ConsulServer
from horde_agents.testing.nomad_server import FakeGpu, GpuNodeAgent, NomadServer
from horde_agents.testing.server_process import ServerNotUp
from tests.e2e.cluster.sight import Sight
from tests.e2e.cluster.wholeness import never_twice, whole_again

SERVERS = 3
GPUS_PER_NODE = 2


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, job_image: str) -> Iterator[ClusterHorde]:
    """Three servers of each kind, two gpu nodes with two GPUs each, two miners of one coldkey."""
    assert job_image
    run = uuid.uuid4().hex[:6]  # other hordes on this machine may have GPUs of their own
    gpus = {
        f"gpu{node}-{run}": [FakeGpu(f"GPU-{run}-{node}{number}") for number in range(GPUS_PER_NODE)]
        for node in (1, 2)
    }
    overrides: dict[str, dict[str, Any]] = {
        # tests make faults on purpose, and look at manifests
        "validator": {
            "incident_pause_s": 0.0,
            "decline_pause_s": 0.0,
            "manifest_poll_s": 1.0,
            "miner_absence_s": 20.0,
            "cross_validation": False,  # the stories count on every executor that is not broken
        },
        # each block is a cycle, so that every dance that is asked for may move its share
        "miner": {
            "owner_gone_s": 5.0,
            "reconnect_grace_s": 15.0,
            "dance": "main_hotkey",
            "cycle_blocks": 1,
            "dance_largest_share": 0.5,
        },
    }
    plan = ClusterPlan(gpus, {GPU_CLASS: len(gpus) * GPUS_PER_NODE}, servers=SERVERS, overrides=overrides)
    with cluster_horde(tmp_path_factory.mktemp("cluster"), plan) as running:
        yield running


@pytest.fixture
async def sight(cluster: ClusterHorde) -> AsyncIterator[Sight]:
    """The cluster, whole at first and under observation: in no story is a GPU in two places for a moment.

    What a story that failed has left broken is mended for the next one.
    """
    consul = ConsulCoordination(ClusterAddress(tuple(server.url for server in cluster.consul)))
    nomad = Nomad(ClusterAddress(tuple(server.url for server in cluster.nomad)))
    sight = Sight(cluster, consul, nomad)
    try:
        await whole_again(sight)
        async with never_twice(sight):
            yield sight
    finally:
        await asyncio.to_thread(heal, cluster)
        await nomad.close()
        await consul.close()


def heal(cluster: ClusterHorde) -> None:
    """Start what is dead, wake what is frozen, and let Nomad place holders on every node."""
    parts: list[ConsulServer | NomadServer | GpuNodeAgent] = [*cluster.consul, *cluster.nomad]
    parts += cluster.nodes.values()
    for part in parts:
        part.process.send(signal.SIGCONT)
        try:
            part.process.check_runs()
        except ServerNotUp:
            part.start()
    for part in parts:
        part.wait_ready()
    for name in cluster.horde.miners:
        if cluster.horde.processes[name].poll() is not None:
            restart_agent(name, cluster.horde)
