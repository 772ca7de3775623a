"""Asks miners what they offer, over short connections, and brings them receipts by the way."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from horde_agents.agents.validator.miner_link import LinkLost, MinerBroken, MinerUnreachable, linked
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.receipt_delivery import Delivery
from horde_agents.agents.validator.routing import Miner
from horde_agents.runtime.logs import get_logger

_log = get_logger(__name__)


@dataclass(slots=True)
class Polls:
    """The polling of manifests, regular and on demand; ``first_round`` is set when all were asked once."""

    parts: Parts
    first_round: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        """Ask every miner, every few minutes."""
        while True:
            await self.ask(self.parts.directory.miners())
            self.first_round.set()
            await asyncio.sleep(self.parts.settings.manifest_poll_s)

    async def ask_unknown(self) -> None:
        """Ask those miners of which nothing is known."""
        known = self.parts.manifests.counts()
        await self.ask(miner for miner in self.parts.directory.miners() if miner.hotkey not in known)

    async def ask(self, miners: Iterable[Miner]) -> None:
        """Ask some miners, a bounded number at a time; those that do not answer are logged."""
        turn = asyncio.Semaphore(self.parts.settings.manifest_concurrency)
        async with asyncio.TaskGroup() as group:
            for miner in miners:
                group.create_task(self._ask_one(miner, turn))

    async def _ask_one(self, miner: Miner, turn: asyncio.Semaphore) -> None:
        limit_s = self.parts.settings.manifest_timeout_s
        async with turn:
            try:
                async with asyncio.timeout(limit_s):
                    await self._fetch(miner, limit_s)
            except TimeoutError:
                _log.warning("no manifest in time", peer=miner.hotkey, limit_s=limit_s)
            except (MinerUnreachable, LinkLost, MinerBroken) as error:
                _log.warning("no manifest", peer=miner.hotkey, why=str(error))

    async def _fetch(self, miner: Miner, limit_s: float) -> None:
        async with linked(self.parts.http, self.parts.signer, miner, limit_s) as link:
            while link.extensions is None:
                await link.receive()
            await self.parts.manifests.note(miner.hotkey, link.manifest)
            self.parts.prices.note(miner.hotkey, link.prices)
            self.parts.announced[miner.hotkey] = link.extensions
            delivery = Delivery(self.parts, link)
            await delivery.send_kept()
            await delivery.settle()
        delivery.closed()
