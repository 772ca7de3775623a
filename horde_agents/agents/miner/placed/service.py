"""This miner as a service in Consul's catalogue, for miners that no Nomad job shows there."""

import asyncio
from collections.abc import Callable

from horde_agents import __version__
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.clients.consul_catalogue import ConsulCatalogue, Service
from horde_agents.placement.records import Member

#: Seconds between two looks whether the UID is known now, or is another.
_LOOK_S = 2.0


async def keep_shown(
    catalogue: ConsulCatalogue, settings: MinerSettings, ports: tuple[int, int], member: Callable[[], Member]
) -> None:
    """Show the miner for ever, anew whenever its UID changes; ``ports`` are the public and the operators'."""
    while True:
        shown = member()
        task = asyncio.create_task(catalogue.keep_registered(_service(settings, ports, shown)))
        try:
            while member().uid == shown.uid and not task.done():
                await asyncio.wait({task}, timeout=_LOOK_S)
        finally:
            task.cancel()
            await asyncio.wait([task])


def _service(settings: MinerSettings, ports: tuple[int, int], member: Member) -> Service:
    uid = "" if member.uid is None else str(member.uid)
    host = settings.axon_ip or settings.host
    return Service(
        name=settings.consul_service or "",
        service_id=f"{settings.consul_service}-{member.hotkey}",
        address=host,
        port=ports[0],
        check_url=f"http://{settings.operator_host}:{ports[1]}/healthz",
        meta={"horde": settings.horde, "uid": uid, "hotkey": member.hotkey, "version": __version__},
    )
