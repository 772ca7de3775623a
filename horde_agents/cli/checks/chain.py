"""An agent's hotkey on the chain: registered, with what stake, and where others will look for it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.clients.chain import BittensorChain, ChainFault, Metagraph, Neuron
from horde_agents.protocol.signing import KeypairSigner

#: Looks at a miner's public listener from here, by host:port.
Reach: TypeAlias = Callable[[str], Awaitable[Finding]]
_RAO: int = 10**9


@dataclass(frozen=True, slots=True)
class Registration:
    """Whom to look for, and where."""

    url: str
    netuid: int
    signer: KeypairSigner


async def miner_findings(
    where: Registration, served: tuple[str, int] | None, reach: Reach
) -> AsyncIterator[Finding]:
    """``served`` is the axon that the settings have served; ``reach`` looks at what the metagraph has."""
    async for finding, neuron in _registered(where):
        yield finding
        if neuron is None:
            continue
        yield _axon_finding(neuron.axon, served)
        if neuron.axon is not None:
            host, port = neuron.axon
            yield await reach(f"{host}:{port}")


async def validator_findings(where: Registration) -> AsyncIterator[Finding]:
    """Whether it may set weights, and what its stake is."""
    async for finding, neuron in _registered(where):
        yield finding
        if neuron is None:
            continue
        stake_tao = neuron.stake_rao / _RAO
        if neuron.validator_permit:
            yield fine("stake", f"{stake_tao:,.0f} TAO, with a validator permit")
        else:
            why = f"{stake_tao:,.0f} TAO give no validator permit, so it sets no weights"
            yield wrong("stake", f"{why}; add stake, the chain decides anew at each epoch")


async def chain_finding(url: str, netuid: int) -> Finding:
    """Whether the chain answers; nobody's key is needed to read it."""
    chain = BittensorChain(url, netuid, KeypairSigner.from_uri("//horde-doctor-reads"))
    try:
        return fine("chain", f"{url} answers at block {await chain.head()}")
    except ChainFault as error:
        return wrong("chain", str(error))
    finally:
        await chain.close()


async def _registered(where: Registration) -> AsyncIterator[tuple[Finding, Neuron | None]]:
    chain = BittensorChain(where.url, where.netuid, where.signer)
    try:
        metagraph = await chain.metagraph()
    except ChainFault as error:
        yield wrong("chain", str(error)), None
        return
    finally:
        await chain.close()
    yield fine("chain", f"{where.url} answers at block {metagraph.block_number}"), None
    yield _registration_finding(where, metagraph)


def _registration_finding(where: Registration, metagraph: Metagraph) -> tuple[Finding, Neuron | None]:
    neuron = metagraph.find(where.signer.hotkey)
    if neuron is not None:
        return fine("registration", f"UID {neuron.uid} of netuid {where.netuid}"), neuron
    remedy = f"register it: btcli subnets register --netuid {where.netuid}"
    return wrong("registration", f"{where.signer.hotkey} is not on netuid {where.netuid}; {remedy}"), None


def _axon_finding(announced: tuple[str, int] | None, served: tuple[str, int] | None) -> Finding:
    if announced is None:
        remedy = "set axon_ip and restart the miner"
        return wrong("axon", f"the chain has none for it, so no validator looks for it; {remedy}")
    text = "{}:{}".format(*announced)
    if served is not None and served != announced:
        remedy = "restart the miner; the chain takes a change only now and then"
        return wrong("axon", f"the chain has {text}, the settings {'{}:{}'.format(*served)}; {remedy}")
    return fine("axon", text)
