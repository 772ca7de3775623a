"""Which slots a miner has and who keeps their holders alive: the plug-in point for executor managers.

A pool of one's own is a class with this shape, named in the setting ``pool`` as ``package.module:Class``.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Final, Protocol, runtime_checkable

from horde_agents.agents.miner.attempts import Attempts
from horde_agents.agents.miner.placed.admission import OnDemand, Tokens
from horde_agents.agents.miner.placed.shared import SharedPlacement
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.miner.slots import Slots
from horde_agents.protocol.miner_address import MinerAddress

#: The pools that come with Horde, by their short names.
_SHIPPED: Final = {
    "process": "horde_agents.agents.miner.process_pool:ProcessPool",
    "nomad": "horde_agents.agents.miner.nomad.pool:NomadPool",
}


@dataclass(frozen=True, slots=True)
class HolderPlan:
    """Everything a holder needs to serve one slot; ``token`` is a secret."""

    slot_id: str
    executor_class: str
    miner: MinerAddress
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HordeLink:
    """What the miner gives a pool whose holders serve every miner of its horde.

    ``address`` is where this miner takes executors in.
    """

    shared: SharedPlacement
    address: str
    attempts: Attempts
    slots: Slots


class PoolLink(Protocol):
    """What the miner gives a pool."""

    @property
    def horde(self) -> HordeLink | None:
        """What the horde's miners share; none for a miner that shares nothing."""

    @property
    def settings(self) -> MinerSettings:
        """The miner's settings."""

    def plan(self, slot_id: str, executor_class: str) -> HolderPlan:
        """A plan with a fresh token for one slot of this pool."""


class ExecutorPool(Protocol):
    """Keeps holders; they connect to the miner by themselves and are used in any order."""

    #: True when a holder goes on without its miner, so that a restarted miner waits for it to come back.
    outlives_miner: bool

    def running(self, link: PoolLink) -> AbstractAsyncContextManager[None]:
        """Keep the holders while the block lasts, and leave none running after it unless they outlive it."""

    def slots(self) -> Mapping[str, str]:
        """Slot id → executor class, of every slot this pool means to keep."""


@dataclass(frozen=True, slots=True)
class HolderAccess:
    """What takes holders in at a miner's door."""

    tokens: Tokens
    on_demand: OnDemand


@runtime_checkable
class VouchedPool(Protocol):
    """A pool whose holders another system vouches for, as Nomad does, instead of the miner's own secret."""

    def access(self, attempts: Attempts) -> HolderAccess:
        """How holders prove what they are, and how one is started for an attempt."""


class PoolUnknown(Exception):
    """The setting ``pool`` names no pool; the text says what is wrong with it."""


def load_pool(settings: MinerSettings) -> ExecutorPool:
    """The pool of the settings.

    Raises:
        PoolUnknown: no such module or class.
    """
    path = _SHIPPED.get(settings.pool, settings.pool)
    module_name, _, class_name = path.partition(":")
    try:
        kind = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PoolUnknown(
            f"Setting pool={settings.pool!r}: {error}; use 'process', 'nomad' or 'package.module:Class'."
        ) from error
    pool: ExecutorPool = kind(settings)
    return pool
