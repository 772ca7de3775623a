"""An agent in Consul's catalogue, where operators and other programs find it with its health.

A service belongs to the Consul agent that it was registered at, so only the first address is asked: the one
on the agent's own machine.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from consul.check import Check

from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul_connection import ConsulConnection
from horde_agents.placement.coordination import CoordinationAway, CoordinationDenied
from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: Seconds between two looks whether a registration still stands.
LOOK_S: Final = 30.0
#: Seconds after which it is made again anyway: Consul keeps the token and the check of the last time.
AGAIN_S: Final = 300.0
_RETRY_S: Final = (0.5, 30.0)
_TELL_S: Final = 5.0
_CHECK_INTERVAL: Final = "10s"
_CHECK_TIMEOUT: Final = "3s"
#: A service whose check failed this long is taken out by Consul itself.
_DEREGISTER_AFTER: Final = "10m"
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """An agent as the catalogue shows it; Consul asks ``check_url`` every ten seconds."""

    name: str
    service_id: str
    address: str
    port: int
    check_url: str
    meta: dict[str, str] = field(default_factory=dict)


class ConsulCatalogue:
    """The catalogue as the Consul agent at the first address has it; ``close`` it."""

    def __init__(self, address: ClusterAddress) -> None:
        self._consul = ConsulConnection(replace(address, urls=address.urls[:1]))

    async def close(self) -> None:
        """End the connections."""
        await self._consul.close()

    async def register(self, service: Service) -> None:
        """Show ``service``; one with its id is replaced."""
        check = Check.http(
            service.check_url, _CHECK_INTERVAL, timeout=_CHECK_TIMEOUT, deregister=_DEREGISTER_AFTER
        )
        await self._consul.call(
            lambda consul: consul.agent.service.register(
                service.name,
                service_id=service.service_id,
                address=service.address,
                port=service.port,
                meta=service.meta,
                check=check,
                replace_existing_checks=True,
            )
        )

    async def deregister(self, service_id: str) -> None:
        """Take a service out; one that is not there is no error."""
        await self._consul.call(lambda consul: consul.agent.service.deregister(service_id))

    async def shows(self, service: Service) -> bool:
        """Whether both the agent and the cluster's catalogue have ``service`` as it is."""
        known = await self._consul.call(lambda consul: consul.agent.service_definition(service.service_id))
        if known is None or not _fits(service, known):
            return False
        _, rows = await self._consul.call(lambda consul: consul.catalog.service(service.name))
        return any(row["ServiceID"] == service.service_id for row in rows)

    async def keep_registered(
        self, service: Service, look_s: float = LOOK_S, again_s: float = AGAIN_S
    ) -> None:
        """Show ``service`` for ever, again whenever it was lost; take it out when cancelled."""
        due_s = monotonic_s()
        try:
            while True:
                for delay_s in delays_s(*_RETRY_S, Random()):  # noqa: S311  (spreads retries)
                    if monotonic_s() < due_s and await self._stands(service):
                        break
                    if await self._told(service, self.register(service), "entered the catalogue"):
                        due_s = monotonic_s() + again_s
                        break
                    await asyncio.sleep(delay_s)
                await asyncio.sleep(look_s)
        finally:
            await self._told(service, self.deregister(service.service_id), "left the catalogue")

    async def _stands(self, service: Service) -> bool:
        try:
            return await self.shows(service)
        except (CoordinationAway, CoordinationDenied):
            return False

    async def _told(self, service: Service, change: Awaitable[None], what: str) -> bool:
        try:
            async with asyncio.timeout(_TELL_S):
                await change
        except (CoordinationAway, CoordinationDenied, TimeoutError) as error:
            why = str(error) or f"Consul has not answered in {_TELL_S:g} s"
            _log.warning(f"not {what}", service=service.service_id, why=why)
            return False
        _log.debug(what, service=service.service_id)
        return True


def _fits(service: Service, known: dict[str, Any]) -> bool:
    return (known["Service"], known["Address"], known["Port"], known["Meta"] or {}) == (
        service.name,
        service.address,
        service.port,
        service.meta,
    )
