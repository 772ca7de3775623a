"""A gpu node stopped, frozen, lost, drained: each of its GPUs ends with exactly one holder."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterable

import pytest

from horde_agents.testing.nomad_server import NODE_POOL, GpuNodeAgent
from tests.e2e.cluster.jobs import jobs_running
from tests.e2e.cluster.patience import until
from tests.e2e.cluster.sight import HolderProcess, Sight, children
from tests.e2e.cluster.wholeness import whole_again

pytestmark = pytest.mark.timeout(600)


async def test_holders_serve_on_while_their_nomad_agent_is_killed_and_started_again(
    sight: Sight, job_image: str
) -> None:
    node, holders = one_node(sight), pids(sight.holders())
    async with jobs_running(sight.cluster.horde, job_image) as jobs:
        node.process.kill()
        await jobs.more_completed(4)
        node.start()
        await asyncio.to_thread(node.wait_ready)
        await jobs.more_completed(2)
    jobs.check_all_completed()
    await whole_again(sight, jobs)
    assert pids(sight.holders()) == holders


async def test_holders_serve_on_while_their_node_is_frozen_beyond_its_heartbeat(
    sight: Sight, job_image: str
) -> None:
    node, holders = one_node(sight), pids(sight.holders())
    async with jobs_running(sight.cluster.horde, job_image) as jobs:
        node.process.send(signal.SIGSTOP)
        try:
            await nomad_says(sight, node, "disconnected")
            await jobs.more_completed(2)
        finally:
            node.process.send(signal.SIGCONT)
        await nomad_says(sight, node, "ready")
    jobs.check_all_completed()
    await whole_again(sight, jobs)
    assert pids(sight.holders()) == holders


async def test_a_lost_node_ends_its_jobs_with_a_cause_and_serves_again_when_it_is_back(
    sight: Sight, job_image: str
) -> None:
    node = one_node(sight)
    lost = [holder for holder in sight.holders() if holder.node == node.name]
    async with jobs_running(sight.cluster.horde, job_image) as jobs:
        node.process.kill()
        end_at_once(lost)
        await nomad_says(sight, node, "disconnected")
        await jobs.more_completed(2)
        node.start()
        await asyncio.to_thread(node.wait_ready)
    assert jobs.states().keys() <= {"completed", "rejected", "horde_failed"}, jobs.states()
    await whole_again(sight, jobs)
    assert not pids(lost) & pids(sight.holders())


async def test_a_drained_node_lets_its_jobs_finish_and_serves_again_when_it_is_eligible(
    sight: Sight, job_image: str
) -> None:
    node = one_node(sight)
    async with jobs_running(sight.cluster.horde, job_image, lanes=len(sight.devices)) as jobs:
        await asyncio.to_thread(
            node_command, sight, node, "drain", "-enable", "-detach", "-yes", "-deadline=60s"
        )
        await holders_on(sight, node, 0)
        await jobs.more_completed(3)
        await asyncio.to_thread(node_command, sight, node, "eligibility", "-enable")
        await holders_on(sight, node, len(node.gpus))
    assert jobs.states().keys() <= {"completed", "rejected"}, jobs.not_completed()
    await whole_again(sight, jobs)


def one_node(sight: Sight) -> GpuNodeAgent:
    return next(iter(sight.cluster.nodes.values()))


async def holders_on(sight: Sight, node: GpuNodeAgent, count: int) -> None:
    """Wait until so many holders run on the node."""

    async def look() -> list[HolderProcess]:
        return [holder for holder in sight.holders() if holder.node == node.name]

    await until(f"{count} holders on {node.name}", look, lambda seen: len(seen) == count)


async def nomad_says(sight: Sight, node: GpuNodeAgent, status: str) -> None:
    """Wait until Nomad's servers say that of the node."""

    async def said() -> list[str]:
        return [row.status for row in await sight.nomad.nodes(NODE_POOL) if row.name == node.name]

    await until(f"Nomad says {status} of {node.name}", said, lambda seen: status in seen)


def node_command(sight: Sight, node: GpuNodeAgent, *words: str) -> None:
    """An operator's own ``nomad node ...``."""
    address = f"-address={sight.cluster.nomad[0].url}"
    command = [str(node.program), "node", words[0], address, *words[1:], node.node_id()]
    subprocess.run(command, check=True, capture_output=True)


def pids(holders: Iterable[HolderProcess]) -> set[int]:
    return {holder.pid for holder in holders}


def end_at_once(holders: Iterable[HolderProcess]) -> None:
    """As a power cut does, with what they have forked; their containers stay for their successors."""
    for holder in holders:
        forked = children(holder.pid)
        for pid in [holder.pid, *forked]:
            os.kill(pid, signal.SIGKILL)
