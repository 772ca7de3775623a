"""Which validators may link and their stake, as last read from the chain; stored for an outage."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Final

from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.clients.chain import BittensorChain, ChainFault
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger
from horde_agents.store import facts

_FACT: Final = "validator_stakes"
_RETRY_S: Final = 5.0
_STALE_POLLS: Final = 10
_log = get_logger(__name__)


@dataclass(slots=True)
class Stakes:
    """Stake in rao by validator hotkey."""

    parts: FacilitatorParts
    _from_chain: dict[str, int] = field(default_factory=dict)
    _read_s: float | None = None

    async def load(self) -> None:
        """Take up the reading stored last."""
        async with self.parts.store.reading() as connection:
            text = await facts.get(connection, _FACT)
        self._from_chain = json.loads(text) if text else {}

    def is_validator(self, hotkey: str) -> bool:
        """True for validators of the chain and those the settings name."""
        return hotkey in self._from_chain or hotkey in self.parts.settings.allowed_validators

    def of(self, hotkey: str) -> int:
        """Its stake; none for a validator that only the settings name."""
        return self._from_chain.get(hotkey, 0)

    def why_stale(self) -> str | None:
        """For readiness: a sentence when a chain is set and was not read for long."""
        settings = self.parts.settings
        if settings.chain_url is None:
            return None
        if self._read_s is None:
            return f"the chain at {settings.chain_url} has not been read yet"
        age_s = monotonic_s() - self._read_s
        return (
            f"the chain was last read {age_s:.0f} s ago"
            if age_s > _STALE_POLLS * settings.chain_poll_s
            else None
        )

    async def follow_chain(self) -> None:
        """The loop that keeps the reading fresh."""
        settings = self.parts.settings
        assert settings.chain_url is not None
        reader = KeypairSigner.from_uri("//horde-facilitator-reader")  # signs nothing: it only reads
        chain = BittensorChain(settings.chain_url, settings.netuid, reader)
        try:
            while True:
                try:
                    await self._replace((await chain.metagraph()).validators())
                    await asyncio.sleep(settings.chain_poll_s)
                except ChainFault as error:
                    _log.warning("chain not read", why=str(error))
                    await asyncio.sleep(_RETRY_S)
        finally:
            await chain.close()

    async def _replace(self, stakes: dict[str, int]) -> None:
        self._read_s = monotonic_s()
        if stakes != self._from_chain:
            self._from_chain = stakes
            await self.parts.store.writer.run(lambda c: facts.put(c, _FACT, json.dumps(stakes)))
