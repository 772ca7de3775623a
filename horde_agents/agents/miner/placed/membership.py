"""That this miner lives, and which roles it has: one session in the shared store holds both."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from horde_agents.agents.miner.placed.view import PlacementView, next_change
from horde_agents.placement.coordination import (
    Coordination,
    CoordinationAway,
    CoordinationDenied,
    Held,
    Session,
    SessionLost,
)
from horde_agents.placement.records import Member, as_json
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: Seconds between two tries to get a role that another has.
_ASK_AGAIN_S: Final = 5.0
_RETRY_S: Final = 0.5
_SHOWN: Final = 100
_log = get_logger(__name__)

#: What a role does while it is held: its writes carry the fence.
RoleWork: TypeAlias = Callable[[Held], Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class _Life:
    """The time in which a session certainly holds what it has; a session may have several."""

    session: Session
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Membership:
    """The presence of one miner; when its session ends, its key and its locks are gone for all to see."""

    view: PlacementView
    member: Callable[[], Member]
    ttl_s: float
    _session: Session | None = None
    _life: _Life | None = None
    _has_left: bool = False
    _begun: asyncio.Event = field(default_factory=asyncio.Event)
    _strangers: dict[str, Session] = field(default_factory=dict)

    @property
    def _store(self) -> Coordination:
        return self.view.coordination

    async def keep(self) -> None:
        """Be a member until it leaves; when the session is lost, with a new one."""
        while not self._has_left:
            try:
                await self._live()
            except SessionLost:
                if not self._has_left:
                    _log.warning("membership lost, joining again", horde=self.view.keys.horde)
            except (CoordinationAway, CoordinationDenied) as error:
                _log.warning("cannot be a member", why=str(error))
                await asyncio.sleep(_RETRY_S)
            finally:
                self._end()
        await asyncio.Event().wait()  # until it is cancelled: its loop is not to be started again

    async def leave(self) -> None:
        """End the session for good, so that others need not wait for it to run out."""
        self._has_left = True
        if self._session is not None:
            self._end()
            try:
                await self._store.close_session(self._session)
            except (CoordinationAway, CoordinationDenied) as error:
                _log.info("left without saying so", why=str(error))

    async def hold(self, role: str, work: RoleWork) -> None:
        """Do ``work`` whenever this miner has ``role``, and stop it when the role is lost."""
        key = self.view.keys.role(role)
        with self.view.changes() as changed:
            while True:
                await self._begun.wait()
                life = self._life
                if life is not None and await self._got(key, life.session) and not life.over.is_set():
                    _log.info("role taken", role=role)
                    await self._work(role, work, Held(key, life.session), life.over)
                else:
                    self._name_stranger(role)
                    await next_change(changed, _ASK_AGAIN_S)

    def _name_stranger(self, role: str) -> None:
        """Say once that a session has a role that is no miner's: it will not do the work."""
        state = self.view.state
        name, session = state.roles.get(role, ("", None))
        if session is not None and name not in state.members and self._strangers.get(role) != session:
            self._strangers[role] = session
            _log.warning("a session of no miner has a role", role=role, name=name[:_SHOWN], session=session)

    async def _live(self) -> None:
        hotkey = self.member().hotkey
        session = await self._store.open_session(f"horde miner {hotkey}", self.ttl_s, ephemeral=True)
        self._session = session
        await self._join(session)
        self._begin(session)
        renewed_s = monotonic_s()
        while True:
            await asyncio.sleep(self.ttl_s / 4)
            try:
                await self._store.renew(session)
                renewed_s = monotonic_s()
                await self._keep_record(session)
            except CoordinationAway:
                if monotonic_s() - renewed_s > self.ttl_s:
                    self._end()  # it may have run out, so no role is ours; the key may still be there
                    await self._returned(session)
                    self._begin(session)
                    renewed_s = monotonic_s()

    async def _join(self, session: Session) -> None:
        """Write the record; our own session of before a restart may still have to run out."""
        member, told = self.member(), False
        key = self.view.keys.member(member.hotkey)
        while not await self._store.acquire(key, as_json(member), session):
            if not told:
                _log.warning("another session has this hotkey, waiting for it to end", hotkey=member.hotkey)
                told = True
            await asyncio.sleep(_RETRY_S)
            await self._store.renew(session)

    async def _keep_record(self, session: Session) -> None:
        """Write the record again when it is not what it should be: the UID is known late, keys get edited."""
        member = self.member()
        if self.view.trouble is None and self.view.state.members.get(member.hotkey) != member:
            await self._store.acquire(self.view.keys.member(member.hotkey), as_json(member), session)

    async def _returned(self, session: Session) -> None:
        """Wait for the store; the session may have outlived its absence."""
        while True:
            try:
                await self._store.renew(session)
            except CoordinationAway:
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _begin(self, session: Session) -> None:
        self._life = _Life(session)
        self._begun.set()

    def _end(self) -> None:
        if self._life is not None:
            self._life.over.set()
        self._life = None
        self._begun.clear()

    async def _got(self, key: str, session: Session) -> bool:
        try:
            return await self._store.acquire(key, self.member().hotkey, session)
        except (CoordinationAway, CoordinationDenied, SessionLost):
            return False

    async def _work(self, role: str, work: RoleWork, fence: Held, over: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                working = group.create_task(_awaited(work(fence)), name=role)
                losing = group.create_task(_awaited(over.wait()))
                await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
                working.cancel()
                losing.cancel()
        except* Exception:
            await self._store.release(fence.key, fence.session)
            raise
        finally:
            _log.info("role given up", role=role)


async def _awaited(work: Awaitable[object]) -> None:
    await work
