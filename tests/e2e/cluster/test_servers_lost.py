"""Servers of Nomad and of Consul lost: what runs goes on, and what is accepted does not wait for them."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from horde_agents.testing.consul_server import ConsulServer
from horde_agents.testing.nomad_server import NomadServer
from tests.e2e.cluster.dances import ask_for_a_dance, danced, dances
from tests.e2e.cluster.jobs import accept_s, jobs_running
from tests.e2e.cluster.patience import until
from tests.e2e.cluster.sight import Sight
from tests.e2e.cluster.wholeness import whole_again

pytestmark = pytest.mark.timeout(600)
#: How long all of Consul is away.
AWAY_S = 60.0
#: An accept may take so much longer while it is: noise of a busy machine, and far below a client's timeout.
_SLOWER_S = 1.0


@pytest.mark.parametrize("kind", ["nomad", "consul"])
async def test_jobs_complete_while_a_leader_is_lost_and_comes_back(
    sight: Sight, job_image: str, kind: str
) -> None:
    servers = servers_of(sight, kind)
    async with jobs_running(sight.cluster.horde, job_image) as jobs:
        lost = leader_of(servers)
        lost.process.kill()
        await another_leads(servers, lost)
        await jobs.more_completed(3)
        lost.start()
        await asyncio.to_thread(lost.wait_ready)
        await jobs.more_completed(2)
    jobs.check_all_completed()
    await whole_again(sight, jobs)


@pytest.mark.parametrize("kind", ["nomad", "consul"])
async def test_a_dance_is_finished_though_a_leader_is_lost_in_it(
    sight: Sight, job_image: str, kind: str
) -> None:
    servers = servers_of(sight, kind)
    async with jobs_running(sight.cluster.horde, job_image) as jobs:
        before = await dances(sight)
        await ask_for_a_dance(sight)
        lost = leader_of(servers)
        lost.process.kill()
        await another_leads(servers, lost)
        await danced(sight, before)
        await jobs.more_completed(2)
        lost.start()
        await asyncio.to_thread(lost.wait_ready)
    jobs.check_all_completed()
    await whole_again(sight, jobs)


async def test_without_any_consul_jobs_are_accepted_at_once_and_nothing_moves(
    sight: Sight, job_image: str
) -> None:
    async with jobs_running(sight.cluster.horde, job_image) as jobs:
        await jobs.more_completed(5)
        with_consul = list(jobs.ended)
        owners = {slot.slot_id: slot.owner for slot in (await sight.placement()).slots.values()}
        before = await dances(sight)
        for server in sight.cluster.consul:
            server.process.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(AWAY_S)
            without_consul = jobs.ended[len(with_consul) :]
        finally:
            for server in sight.cluster.consul:
                server.process.send(signal.SIGCONT)
        for server in sight.cluster.consul:
            await asyncio.to_thread(server.wait_ready)
        assert len(without_consul) > len(with_consul)
        assert slowest_s(without_consul) < slowest_s(with_consul) + _SLOWER_S
        after = {slot.slot_id: slot.owner for slot in (await sight.placement()).slots.values()}
        assert after == owners
        await ask_for_a_dance(sight)
        await danced(sight, before)
    jobs.check_all_completed()
    await whole_again(sight, jobs)


async def test_a_consul_that_was_killed_whole_is_taken_up_again(sight: Sight, job_image: str) -> None:
    async with jobs_running(sight.cluster.horde, job_image) as jobs:
        before = await dances(sight)
        for server in sight.cluster.consul:
            server.process.kill()
        await jobs.more_completed(3)
        for server in sight.cluster.consul:
            server.start()
        for server in sight.cluster.consul:
            await asyncio.to_thread(server.wait_ready)
        await ask_for_a_dance(sight)
        await danced(sight, before)
    jobs.check_all_completed()
    await whole_again(sight, jobs)


def servers_of(sight: Sight, kind: str) -> Sequence[NomadServer | ConsulServer]:
    return sight.cluster.nomad if kind == "nomad" else sight.cluster.consul


def leader_of(servers: Sequence[NomadServer | ConsulServer]) -> NomadServer | ConsulServer:
    said = next(filter(None, (server.leader() for server in servers)))
    return next(server for server in servers if said == address_of(server))


def address_of(server: NomadServer | ConsulServer) -> str:
    return server.rpc_address if isinstance(server, NomadServer) else server.raft_address


async def another_leads(
    servers: Sequence[NomadServer | ConsulServer], lost: NomadServer | ConsulServer
) -> None:
    left = [server for server in servers if server is not lost]

    async def leaders() -> list[str]:
        return [server.leader() for server in left]

    await until("another server leads", leaders, lambda seen: not {"", address_of(lost)} & set(seen))


def slowest_s(jobs: Sequence[dict[str, Any]]) -> float:
    return max(accept_s(job) for job in jobs)
