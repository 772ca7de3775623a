"""The store that a horde's miners share, opened for an operator's commands by a miner's settings."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.jobs.classes import add_classes
from horde_agents.placement.coordination import Change, Coordination
from horde_agents.placement.orders import OrderRefused
from horde_agents.placement.records import HordeState, Keys, read_state
from horde_agents.runtime.settings import SettingsWrong, load_settings

T = TypeVar("T")
#: Times an order is made anew because somebody else wrote the same keys.
_TRIES: Final = 10

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file of one of the horde's miners (TOML)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class SharedHorde:
    """One horde's shared records."""

    def __init__(self, store: Coordination, keys: Keys) -> None:
        self.store = store
        self.keys = keys

    async def state(self) -> HordeState:
        """All of it, now."""
        return read_state(self.keys, await self.store.snapshot(self.keys.prefix))

    async def next_state(self, known: HordeState, wait_s: float) -> HordeState:
        """The state after the next change, or the present one after ``wait_s``."""
        return read_state(self.keys, await self.store.changed(self.keys.prefix, known.index, wait_s))

    async def order(self, order: Callable[[HordeState], Sequence[Change]]) -> bool:
        """Carry an order out; False when all was so already.

        Raises:
            OrderRefused: as ``order`` says, or others write the same keys all the time.
        """
        for _ in range(_TRIES):
            changes = order(await self.state())
            if not changes:
                return False
            if await self.store.commit(changes):
                return True
        raise OrderRefused("Others write the same keys all the time; nothing was changed. Try again soon.")


def with_horde(config: Path | None, use: Callable[[SharedHorde], Awaitable[T]]) -> T:
    """Open the store of the settings and do ``use`` with it.

    Raises:
        SettingsWrong: the miner of these settings shares nothing.
    """
    from horde_agents.agents.miner.placed.stores import shared_store  # only these commands need a store

    settings = load_settings(MinerSettings, "miner", config)
    add_classes(settings.class_file)
    if not settings.consul_urls and settings.placement_file and not settings.placement_file.exists():
        raise SettingsWrong(
            f"There is no placement file {settings.placement_file}: no miner with this setting has run yet."
        )

    async def run() -> T:
        async with shared_store(settings) as store:
            if store is None:
                raise SettingsWrong(
                    "These settings name neither 'consul_urls' nor 'placement_file': their miner shares no "
                    "slots. Name a settings file of the horde with --config."
                )
            return await use(SharedHorde(store, Keys(settings.horde)))

    return asyncio.run(run())
