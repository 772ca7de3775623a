"""What each miner last said it offers, in memory and in the store; who asks them is ``polls.py``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from horde_agents.jobs.classes import CATALOGUE
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.store import manifests
from horde_agents.store.engine import Store

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    counts: Mapping[str, int]
    at: datetime


@dataclass(slots=True)
class Manifests:
    """The newest manifest of each miner; one missed poll changes nothing, a stale manifest does not count."""

    _store: Store
    stale_s: float
    most: int
    _seen: dict[str, _Seen] = field(default_factory=dict)

    async def load(self) -> None:
        """Take up what an earlier process was told."""
        at = now()
        async with self._store.reading() as connection:
            known = await manifests.newest(connection, at - timedelta(seconds=self.stale_s))
        for hotkey, counts in known.items():
            self._seen[hotkey] = _Seen(counts, at)

    async def note(self, miner_hotkey: str, announced: Mapping[str, int]) -> None:
        """Take over a manifest; classes that nobody knows and impossible counts are left out."""
        counts = sane_counts(announced, self.most)
        known = self._seen.get(miner_hotkey)
        at = now()
        self._seen[miner_hotkey] = _Seen(counts, at)
        is_fresh = known is not None and (at - known.at).total_seconds() < self.stale_s / 3
        if known is None or known.counts != counts or not is_fresh:
            _log.info("manifest", peer=miner_hotkey, counts=counts)
            await self._store.writer.run(
                lambda connection: manifests.replace(connection, miner_hotkey, counts, at)
            )

    def of(self, miner_hotkey: str) -> Mapping[str, int]:
        """Executors by class; empty when the miner has not told for too long."""
        return self.counts().get(miner_hotkey, {})

    def counts(self) -> dict[str, Mapping[str, int]]:
        """Executors by class, by miner, of those whose manifest counts."""
        oldest = now() - timedelta(seconds=self.stale_s)
        return {hotkey: seen.counts for hotkey, seen in self._seen.items() if seen.at >= oldest}

    def told_since(self, at: datetime) -> dict[str, Mapping[str, int]]:
        """Executors by class, by miner, of those that have told since ``at``."""
        return {hotkey: seen.counts for hotkey, seen in self._seen.items() if seen.at >= at}


def sane_counts(announced: Mapping[str, int], most: int) -> dict[str, int]:
    """The part of a manifest that can be meant: known classes, 1 to ``most`` executors."""
    return {name: min(count, most) for name, count in announced.items() if name in CATALOGUE and count > 0}
