"""What placement needs of a store that all agents of a horde share: check-and-set, sessions, one watch.

Consul is that store in a horde (``clients/consul.py``), SQLite on one machine
(``store/coordination.py``); both pass ``tests/contract/coordination``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NewType, Protocol, TypeAlias

Session = NewType("Session", str)

#: Changes in one transaction at most; Consul takes 64 operations in all (bundle note 5.1).
MAX_CHANGES: Final = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """One key's value; ``index`` grows with every change of it, ``session`` holds it as a lock."""

    value: str
    index: int
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything below a prefix at one instant, by whole key; ``index`` is where to watch on from."""

    index: int
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``value``. ``index`` is the one that the key must have now: 0 for a new key, none for any."""

    key: str
    value: str
    index: int | None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key that still has ``index``."""

    key: str
    index: int


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing is written unless ``session`` holds the lock ``key`` now: the fence of a role."""

    key: str
    session: Session


Change: TypeAlias = Put | Delete | Held


class CoordinationAway(Exception):
    """The store does not answer or has no leader; nothing is known about the last write."""


class CoordinationDenied(Exception):
    """The token may not do this, or is no longer valid; the text names the remedy."""


class SessionLost(Exception):
    """The session has ended: what it held belongs to nobody, or to others."""


class Coordination(Protocol):
    """The shared store. Every method may raise ``CoordinationAway`` or ``CoordinationDenied``."""

    async def snapshot(self, prefix: str) -> Snapshot:
        """All keys that begin with ``prefix``, as the leader knows them."""

    async def changed(self, prefix: str, index: int, wait_s: float) -> Snapshot:
        """The next snapshot after ``index``, or the present one after ``wait_s``; no proof of a change."""

    async def commit(self, changes: Sequence[Change]) -> bool:
        """Make all changes or none; False when a condition does not hold.

        Raises:
            ValueError: more than ``MAX_CHANGES``.
        """

    async def open_session(self, name: str, ttl_s: float, *, ephemeral: bool) -> Session:
        """A session that ends unless renewed within ``ttl_s`` (it may live up to twice that).

        When it ends, the keys it holds are deleted if ``ephemeral``, else released.
        """

    async def renew(self, session: Session) -> None:
        """Keep a session alive.

        Raises:
            SessionLost: it has ended.
        """

    async def close_session(self, session: Session) -> None:
        """End a session now; one that is gone already is no error."""

    async def acquire(self, key: str, value: str, session: Session) -> bool:
        """Take ``key`` as a lock with ``value``; False when another session holds it.

        Taking it again with the same session writes the value.

        Raises:
            SessionLost: the session has ended.
        """

    async def release(self, key: str, session: Session) -> None:
        """Give a lock back; one that is not held by ``session`` stays as it is."""
