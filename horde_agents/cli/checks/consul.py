"""Consul for a horde: servers, token, the rights of a miner."""

from collections.abc import AsyncIterator
from typing import Final

from horde_agents.agents.miner.placed.stores import consul_address
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.cli.checks.servers import CONSUL, server_findings, token_finding
from horde_agents.cli.checks.versions import cluster_finding
from horde_agents.clients.consul_connection import ConsulConnection
from horde_agents.placement.coordination import Coordination, CoordinationAway, CoordinationDenied, Put
from horde_agents.placement.records import CHOREOGRAPHER, Keys

#: An index that no key has: a write under this condition is checked for its right, and never made.
_NEVER: Final = 2**62


async def consul_findings(settings: MinerSettings) -> AsyncIterator[Finding]:
    """The servers, their versions, and the token."""
    address = consul_address(settings)
    servers = await server_findings(CONSUL, address)
    for finding in servers:
        yield finding
    if not any(finding.fine for finding in servers):
        return
    token = await token_finding(CONSUL, address)
    if token is not None:
        yield token
    connection = ConsulConnection(address)
    try:
        rows = (await connection.ask("GET", "/v1/catalog/nodes")).body
    except (CoordinationAway, CoordinationDenied):
        rows = []
    finally:
        await connection.close()
    versions = [(row["Node"], (row.get("Meta") or {}).get("consul-version", "")) for row in rows]
    judged = cluster_finding("consul", [row for row in versions if row[1]])
    if judged is not None:
        yield judged


async def rights_finding(store: Coordination, horde: str) -> Finding:
    """Whether the token may do what a miner does; nothing is written but a session, which is closed."""
    keys = Keys(horde)
    written = [
        keys.slot("doctor"),
        keys.member("doctor"),
        keys.role(CHOREOGRAPHER),
        keys.report("doctor"),
        keys.dance,
        keys.last_dance,
        keys.main_hotkey,
        f"{keys.history}doctor",
    ]
    try:
        for key in written:
            await store.commit([Put(key, "", _NEVER)])
        await store.close_session(await store.open_session("horde doctor", 10.0, ephemeral=True))
    except (CoordinationAway, CoordinationDenied) as error:
        return wrong("placement rights", f"{error} A miner's policy is consul/policies/miner.policy.hcl")
    return fine("placement rights", "the miner may read and write what it needs")
