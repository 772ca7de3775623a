"""Keeps miners and stakes in step with the metagraph; while the chain is away, the last reading counts."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from horde_agents.agents.validator.directory import Directory
from horde_agents.agents.validator.routing import Miner
from horde_agents.clients.chain import ChainClient, ChainFault, Metagraph
from horde_agents.protocol.signing import Hotkey
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger
from horde_agents.store import facts
from horde_agents.store.engine import Store

_FACT: Final = "validator.metagraph"
_RETRY_S: Final = 5.0
#: A reading older than this makes the agent unready.
_STALE_S: Final = 600.0
#: How long a start waits for the first reading when there is none in the store.
_FIRST_READING_S: Final = 30.0

_log = get_logger(__name__)


@dataclass(slots=True)
class ChainWatch:
    """Reads the metagraph every ``poll_s``; miners named in the settings stay when ``keeps_miners``."""

    chain: ChainClient
    directory: Directory
    store: Store
    own_hotkey: Hotkey
    poll_s: float
    keeps_miners: bool
    _read_at_s: float | None = None
    _first: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self) -> None:
        """Take up the last reading of an earlier process."""
        async with self.store.reading() as connection:
            text = await facts.get(connection, _FACT)
        if text is not None:
            value = json.loads(text)
            self._replace([Miner(Hotkey(m[0]), m[1], m[2]) for m in value["miners"]], value["stake_rao"])
            self._first.set()

    async def until_first_reading(self) -> None:
        """Wait, for a while, until miners are known; jobs found open need them."""
        try:
            async with asyncio.timeout(_FIRST_READING_S):
                await self._first.wait()
        except TimeoutError:
            _log.warning("starting without a reading of the metagraph")

    async def serve(self) -> NoReturn:
        """Read for ever."""
        while True:
            fine = await self._read_once()
            await asyncio.sleep(self.poll_s if fine else min(_RETRY_S, self.poll_s))

    def why_not_ready(self) -> str | None:
        """What is wrong with the last reading, for readiness."""
        if self._read_at_s is None:
            return "the metagraph has not been read since the start"
        age_s = monotonic_s() - self._read_at_s
        return f"the metagraph was last read {age_s:.0f} s ago" if age_s > _STALE_S else None

    async def _read_once(self) -> bool:
        try:
            metagraph = await self.chain.metagraph()
        except ChainFault as error:
            _log.warning("metagraph not read", why=str(error))
            return False
        miners = miners_of(metagraph, self.own_hotkey)
        stake_rao = metagraph.validators()
        self._replace(miners, stake_rao)
        self._read_at_s = monotonic_s()
        self._first.set()
        value: dict[str, Any] = {
            "miners": [[miner.hotkey, miner.host, miner.port] for miner in miners],
            "stake_rao": stake_rao,
        }
        await self.store.writer.run(lambda connection: facts.put(connection, _FACT, json.dumps(value)))
        return True

    def _replace(self, miners: list[Miner], stake_rao: dict[str, int]) -> None:
        self.directory.replace(self.directory.miners() if self.keeps_miners else miners, stake_rao)


def miners_of(metagraph: Metagraph, own_hotkey: str) -> list[Miner]:
    """Every other neuron that says where it listens."""
    return [
        Miner(neuron.hotkey, *neuron.axon)
        for neuron in metagraph.neurons
        if neuron.axon is not None and neuron.hotkey != own_hotkey
    ]
