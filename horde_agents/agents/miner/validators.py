"""Which validators the miner serves: those with a permit on the chain, and those its operator names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.miner.parts import MinerParts
from horde_agents.runtime import clock
from horde_agents.store import access, facts

BLACKLIST: Final = "blacklist"
_FACT: Final = "validators"


@dataclass(slots=True)
class Validators:
    """The list as last seen on the chain; it outlives a chain that is away, and a restart."""

    parts: MinerParts
    _from_chain: frozenset[str] = field(default_factory=frozenset)

    async def load(self) -> None:
        """Take up the list stored last; one of an earlier version has no stakes."""
        async with self.parts.store.reading() as connection:
            text = await facts.get(connection, _FACT)
        known = json.loads(text) if text else {}
        self._from_chain = frozenset(known)
        if isinstance(known, dict):
            self.parts.facts.validator_stakes = known

    async def replace(self, stakes_rao: Mapping[str, int]) -> None:
        """Write the chain's present list, with the stakes by which they share."""
        self._from_chain = frozenset(stakes_rao)
        self.parts.facts.validator_stakes = stakes_rao
        text = json.dumps(stakes_rao, sort_keys=True)

        async def store(connection: AsyncConnection) -> None:
            await facts.put(connection, _FACT, text)

        await self.parts.store.writer.run(store)

    async def why_refused(self, hotkey: str) -> str | None:
        """The wire's text for a validator that is not served; ``None`` for one that is."""
        trusted_by = self.parts.settings.trusted_by
        if trusted_by is not None:
            return None if hotkey == trusted_by else f"Unknown validator: {hotkey}"
        if hotkey not in self._from_chain and hotkey not in self.parts.settings.allowed_validators:
            return f"Unknown validator: {hotkey}"
        async with self.parts.store.reading() as connection:
            blacklist = await access.entries(connection, BLACKLIST, clock.now())
        return f"Inactive validator: {hotkey}" if hotkey in blacklist else None
