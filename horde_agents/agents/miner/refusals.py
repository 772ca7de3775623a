"""Executors that were turned away lately, for the operators' listener: who came, when, and what was wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from horde_agents.agents.miner.slots import Slots
from horde_agents.runtime.clock import monotonic_s

#: So many are kept at most: strangers may knock, too.
_MOST: Final = 100
_SHOWN: Final = 300
#: Seconds for which one that does not come again is shown.
_KEPT_S: Final = 600.0


@dataclass(slots=True)
class Refusals:
    """The last refusal by peer and slot; the slot is empty where the token was not even read."""

    now_s: Callable[[], float] = monotonic_s
    _last: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)

    def add(self, peer: str, slot_id: str, why: str) -> None:
        """An executor was turned away."""
        who = (peer, slot_id[:_SHOWN])
        self._last.pop(who, None)
        self._last[who] = (self.now_s(), why)
        if len(self._last) > _MOST:
            del self._last[next(iter(self._last))]

    def forget(self, peer: str, slot_id: str) -> None:
        """The executor was taken in after all, so what is wrong at ``peer`` still will come again."""
        self._last.pop((peer, slot_id), None)
        self._last.pop((peer, ""), None)

    def rows(self) -> list[dict[str, Any]]:
        """All that are not too old, the oldest first."""
        now_s = self.now_s()
        return [
            {"peer": peer, "slot_id": slot_id, "ago_s": round(now_s - at_s, 1), "why": why}
            for (peer, slot_id), (at_s, why) in self._last.items()
            if now_s - at_s < _KEPT_S
        ]


def executors_route(slots: Slots, refused: Refusals) -> web.RouteDef:
    """``/executors`` of the operators' listener: how many slots serve, and who was refused."""

    async def executors(_request: web.Request) -> web.Response:
        idle, busy = slots.counts()
        body = {"expected": slots.manifest(), "idle": idle, "busy": busy, "refused": refused.rows()}
        return web.json_response(body)

    return web.get("/executors", executors)
