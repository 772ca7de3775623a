"""An agent in Consul's catalogue: shown, shown again when it was lost, gone with the agent."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul_catalogue import ConsulCatalogue, Service
from horde_agents.clients.consul_connection import ConsulConnection
from horde_agents.placement.coordination import CoordinationAway
from horde_agents.testing.consul_server import ConsulServer
from tests.fixtures.waiting import eventually

_SERVICE = Service(
    "horde-miner", "miner-5F", "127.0.0.1", 9, "http://127.0.0.1:9/health", {"hotkey": "5F", "uid": "7"}
)


@pytest.fixture
def own_server(consul_program: Path, tmp_path: Path) -> Iterator[ConsulServer]:
    """A server that the test may end."""
    server = ConsulServer(consul_program, tmp_path / "consul")
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.process.kill()


@pytest.fixture
async def catalogue(own_server: ConsulServer) -> AsyncIterator[ConsulCatalogue]:
    catalogue = ConsulCatalogue(ClusterAddress((own_server.url, "http://127.0.0.1:9")))
    yield catalogue
    await catalogue.close()


@pytest.fixture
async def plain(own_server: ConsulServer) -> AsyncIterator[ConsulConnection]:
    """Consul as an operator sees it."""
    connection = ConsulConnection(ClusterAddress((own_server.url,)))
    yield connection
    await connection.close()


async def _shown(catalogue: ConsulCatalogue, service: Service = _SERVICE) -> bool:
    try:
        return await catalogue.shows(service)
    except CoordinationAway:
        return False


async def test_registered_service_is_found_with_its_health(
    catalogue: ConsulCatalogue, plain: ConsulConnection
) -> None:
    await catalogue.register(_SERVICE)
    await eventually(lambda: _shown(catalogue))
    _, rows = await plain.call(lambda consul: consul.health.service("horde-miner"))
    found = rows[0]["Service"]
    assert (found["ID"], found["Address"], found["Port"]) == ("miner-5F", "127.0.0.1", 9)
    assert found["Meta"] == {"hotkey": "5F", "uid": "7"}
    assert [check["Status"] for check in rows[0]["Checks"] if check["ServiceID"]] == ["critical"]


async def test_registering_again_replaces_what_was_shown(catalogue: ConsulCatalogue) -> None:
    moved = Service("horde-miner", "miner-5F", "127.0.0.1", 10, "http://127.0.0.1:10/health")
    await catalogue.register(_SERVICE)
    await catalogue.register(moved)
    await eventually(lambda: _shown(catalogue, moved))
    assert not await catalogue.shows(_SERVICE)


async def test_service_that_is_not_there_is_taken_out_without_an_error(catalogue: ConsulCatalogue) -> None:
    await catalogue.deregister("miner-none")
    assert not await catalogue.shows(_SERVICE)


async def test_lost_registration_is_made_again_and_ends_with_the_agent(
    catalogue: ConsulCatalogue, plain: ConsulConnection, own_server: ConsulServer
) -> None:
    keeping = asyncio.create_task(catalogue.keep_registered(_SERVICE, look_s=0.2))
    await eventually(lambda: _shown(catalogue))

    # an operator takes it out of the agent
    await plain.call(lambda consul: consul.agent.service.deregister("miner-5F"))
    await eventually(lambda: _shown(catalogue))

    # the catalogue loses it while the agent still has it
    await plain.call(lambda consul: consul.catalog.deregister(node="consul", service_id="miner-5F"))
    await eventually(lambda: _shown(catalogue))

    # Consul comes back with nothing
    own_server.process.kill()
    await asyncio.sleep(0.5)
    assert not keeping.done()
    shutil.rmtree(own_server.folder / "data")
    own_server.start()
    await eventually(lambda: _shown(catalogue), 40)

    keeping.cancel()
    await asyncio.wait([keeping])
    assert keeping.cancelled()
    assert not await catalogue.shows(_SERVICE)


async def test_health_check_that_was_lost_is_made_again(
    catalogue: ConsulCatalogue, plain: ConsulConnection
) -> None:
    async def checked() -> bool:
        return "service:miner-5F" in await plain.call(lambda consul: consul.agent.checks())

    keeping = asyncio.create_task(catalogue.keep_registered(_SERVICE, look_s=0.2, again_s=0.5))
    await eventually(checked)
    await plain.call(lambda consul: consul.agent.check.deregister("service:miner-5F"))
    await eventually(checked)
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_leaving_while_consul_is_away_takes_no_longer_than_it_must(
    catalogue: ConsulCatalogue, own_server: ConsulServer
) -> None:
    keeping = asyncio.create_task(catalogue.keep_registered(_SERVICE, look_s=0.2))
    await eventually(lambda: _shown(catalogue))
    own_server.process.kill()
    keeping.cancel()
    await asyncio.wait([keeping], timeout=10)
    assert keeping.cancelled()
