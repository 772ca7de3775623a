"""Opens the store that the miners of a horde share: Consul, or a file on one machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.placement.coordination import Coordination
from horde_agents.runtime.settings import SettingsWrong
from horde_agents.store.coordination import StoredCoordination

if TYPE_CHECKING:
    from horde_agents.clients.consul import ConsulCoordination


def consul_address(settings: MinerSettings) -> ClusterAddress:
    """Where Consul is, and how to speak with it."""
    return ClusterAddress(
        tuple(settings.consul_urls),
        settings.consul_token_file,
        settings.consul_ca_file,
        settings.consul_certificate_file,
        settings.consul_key_file,
    )


@asynccontextmanager
async def shared_store(settings: MinerSettings) -> AsyncIterator[Coordination | None]:
    """The store of the settings; none for a miner that shares nothing.

    Raises:
        SettingsWrong: it shares slots, and its executors' tokens would be good for itself alone.
    """
    if settings.shares_slots and settings.pool != "nomad" and settings.horde_secret_file is None:
        raise SettingsWrong(
            "Setting 'horde_secret_file' is missing: miners that share slots need one secret, or they refuse "
            "each other's executors. Put the same random text into a file of mode 600 for each of them."
        )
    client = _client(settings)
    if client is None:
        yield None
        return
    try:
        yield client
    finally:
        await client.close()


def _client(settings: MinerSettings) -> "ConsulCoordination | StoredCoordination | None":
    if settings.consul_urls:
        from horde_agents.clients.consul import ConsulCoordination  # heavy, and not every miner's

        return ConsulCoordination(consul_address(settings))
    return StoredCoordination(settings.placement_file) if settings.placement_file else None
