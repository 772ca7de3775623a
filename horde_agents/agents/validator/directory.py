"""Which miners exist, where they listen, and how much stake each validator has.

Holds the newest reading of the metagraph, or the miners that the settings name; reads nothing itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from horde_agents.agents.validator.routing import Miner
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY, Hotkey


@dataclass(slots=True)
class Directory:
    """Miners by hotkey and stakes in rao; ``replace`` is its only change."""

    trusted: Miner | None = None
    stake_rao: Mapping[str, int] = field(default_factory=dict)
    _miners: Mapping[str, Miner] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ValidatorSettings) -> "Directory":
        """What the settings alone say."""
        trusted = settings.trusted_miner
        directory = cls(Miner(TRUSTED_MINER_HOTKEY, trusted.host, trusted.port) if trusted else None)
        directory.replace(
            (Miner(Hotkey(entry.hotkey), entry.host, entry.port) for entry in settings.debug_miners), {}
        )
        return directory

    def replace(self, miners: Iterable[Miner], stake_rao: Mapping[str, int]) -> None:
        """Take over a newer reading."""
        self._miners = {miner.hotkey: miner for miner in miners}
        self.stake_rao = stake_rao

    def miners(self) -> list[Miner]:
        """All miners that can be routed to; the trusted one is not among them."""
        return list(self._miners.values())

    def find(self, hotkey: str) -> Miner | None:
        """The miner, the trusted one included, or ``None``."""
        if hotkey == TRUSTED_MINER_HOTKEY:
            return self.trusted
        return self._miners.get(hotkey)
