"""The live links of validators, and which of them gets a job."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.facilitator_validator import HordeCancelResult
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: A user waits for 5 s at the most (wire note A.1.1), whatever becomes of the validator meanwhile.
_TAKE_IN_S: Final = 2.0
#: Characters that an empty transport takes in without making anybody wait.
_SMALL: Final = 16_000
_log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class Link:
    """One authenticated connection of a validator."""

    hotkey: str
    socket: web.WebSocketResponse = field(repr=False)
    transport: asyncio.WriteTransport = field(repr=False)
    extensions: frozenset[Extension] = frozenset()
    heard_s: float = field(default_factory=monotonic_s)
    _sending: "set[asyncio.Task[bool]]" = field(default_factory=set, repr=False)

    async def send(self, text: str) -> bool:
        """Hand a frame over; False when the link broke meanwhile.

        A peer that takes nothing in is not waited for: the frame stands behind the others and goes out with
        them. It is never cancelled, because that would cancel whoever waits behind it, too.
        """
        if len(text) <= _SMALL and not self.transport.get_write_buffer_size():
            return await self._sent(text)
        sending = asyncio.create_task(self._sent(text), name=f"frame for {self.hotkey}")
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        done, _ = await asyncio.wait({sending}, timeout=_TAKE_IN_S)
        if not done:
            _log.warning("validator takes no frames in", peer=self.hotkey)
            return True
        return sending.result()

    async def _sent(self, text: str) -> bool:
        try:
            await self.socket.send_str(text)
        except ConnectionError:
            _log.info("validator link is gone", peer=self.hotkey)
            return False
        return True


@dataclass(slots=True)
class Links:
    """All links, the newest of a validator last."""

    fresh_s: float
    _links: defaultdict[str, list[Link]] = field(default_factory=lambda: defaultdict(list))
    _cancels: dict[str, "asyncio.Future[HordeCancelResult]"] = field(default_factory=dict)

    def add(self, link: Link) -> None:
        """A validator has authenticated."""
        self._links[link.hotkey].append(link)

    def remove(self, link: Link) -> None:
        """A link has ended."""
        self._links[link.hotkey].remove(link)

    def of(self, hotkey: str) -> Link | None:
        """The newest live link of a validator that has shown a sign of life lately."""
        now = monotonic_s()
        live = [link for link in self._links[hotkey] if now - link.heard_s < self.fresh_s]
        return live[-1] if live else None

    def live_hotkeys(self) -> list[str]:
        """Every validator that can get a job now."""
        return [hotkey for hotkey in self._links if self.of(hotkey) is not None]

    def all(self) -> list[Link]:
        """Every connection."""
        return [link for links in self._links.values() for link in links]

    def expect_cancel(self, uuid: str) -> "asyncio.Future[HordeCancelResult]":
        """The answer to a cancel that is about to be sent."""
        return self._cancels.setdefault(uuid, asyncio.get_running_loop().create_future())

    def cancel_answered(self, result: HordeCancelResult) -> None:
        """A validator has answered a cancel."""
        waiting = self._cancels.pop(result.uuid, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    def forget_cancel(self, uuid: str) -> None:
        """Nobody waits for that answer any more."""
        self._cancels.pop(uuid, None)


def choose(live: Mapping[str, int], open_jobs: Mapping[str, int]) -> str | None:
    """The validator whose load is lowest for its stake (rao); ties go to more stake, then to the name."""

    def burden(hotkey: str) -> tuple[float, int, str]:
        stake = live[hotkey]
        return (open_jobs.get(hotkey, 0) + 1) / max(stake, 1), -stake, hotkey

    return min(live, key=burden) if live else None
