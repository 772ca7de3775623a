"""Keeps the list of validators fresh and the axon on the chain; without it, goes on with the last list."""

import asyncio
from typing import Final

from horde_agents.agents.miner.parts import MinerParts
from horde_agents.agents.miner.validators import Validators
from horde_agents.clients.chain import BittensorChain, ChainClient, ChainFault
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.health import Check
from horde_agents.runtime.logs import get_logger

_RETRY_S: Final = 5.0
_STALE_S: Final = 600.0
_log = get_logger(__name__)


def watch_chain(parts: MinerParts, validators: Validators, port: int) -> Check:
    """Start the loop when a chain is set; returns the readiness check."""
    settings = parts.settings
    if settings.chain_url is None:
        return lambda: None
    assert isinstance(parts.signer, KeypairSigner)
    chain = BittensorChain(settings.chain_url, settings.netuid, parts.signer)
    seen = {"at": monotonic_s() - _STALE_S}
    axon = (settings.axon_ip, settings.axon_port or port) if settings.axon_ip else None

    async def loop() -> None:
        try:
            while True:
                fine = await _look(chain, parts, validators, axon)
                if fine:
                    seen["at"] = monotonic_s()
                await asyncio.sleep(settings.chain_poll_s if fine else _RETRY_S)
        finally:
            await chain.close()

    def check() -> str | None:
        age_s = monotonic_s() - seen["at"]
        return f"the chain was last read {age_s:.0f} s ago" if age_s >= _STALE_S else None

    parts.supervisor.keep("chain", loop)
    return check


async def _look(
    chain: ChainClient, parts: MinerParts, validators: Validators, axon: tuple[str, int] | None
) -> bool:
    try:
        metagraph = await chain.metagraph()
        own = metagraph.find(parts.signer.hotkey)
        parts.facts.uid = own.uid if own else None
        parts.facts.block_number = metagraph.block_number
        await validators.replace(metagraph.validators())
        if axon is not None and await chain.serve_axon(*axon):
            _log.info("axon served", ip=axon[0], port=axon[1])
    except ChainFault as error:
        _log.warning("chain not read", why=str(error))
        return False
    return True
