"""Where the payloads of one batch wait until all are sent at one instant."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class Gate:
    """Payload frames of executors that are ready, by attempt; ``fires_by_s`` is monotonic."""

    fires_by_s: float
    fired_at_s: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _held: dict[str, str] = field(default_factory=dict)

    def hold(self, attempt_uuid: str, frame: str) -> None:
        """Keep a frame, signed and rendered; one that comes after the instant is late and stays."""
        if self.fired_at_s is None:
            self._held[attempt_uuid] = frame
            self.changed.set()

    def ready(self) -> frozenset[str]:
        """The attempts whose executors wait for the instant."""
        return frozenset(self._held)

    def open(self, at_s: float) -> dict[str, str]:
        """The instant has come: the frames to send, by attempt."""
        self.fired_at_s = at_s
        return self._held
