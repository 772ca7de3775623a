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
_log = get_logger(__name__)

#: What a role does while it is held: its writes carry the fence.
RoleWork: TypeAlias = Callable[[Held], Awaitable[None]]


@dataclass(slots=True)
class Membership:
    """The presence of one miner; when its session ends, its key and its locks are gone for all to see."""

    view: PlacementView
    member: Callable[[], Member]
    ttl_s: float
    _session: Session | None = None
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _lost: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def _store(self) -> Coordination:
        return self.view.coordination

    async def keep(self) -> None:
        """Be a member for ever; when the session is lost, with a new one."""
        while True:
            try:
                await self._live()
            except SessionLost:
                _log.warning("membership lost, joining again", horde=self.view.keys.horde)
            except (CoordinationAway, CoordinationDenied) as error:
                _log.warning("cannot be a member", why=str(error))
                await asyncio.sleep(_RETRY_S)
            finally:
                self._end()

    async def leave(self) -> None:
        """End the session, so that others need not wait for it to run out."""
        if self._session is not None:
            session = self._session
            self._end()
            try:
                await self._store.close_session(session)
            except (CoordinationAway, CoordinationDenied) as error:
                _log.info("left without saying so", why=str(error))

    async def hold(self, role: str, work: RoleWork) -> None:
        """Do ``work`` whenever this miner has ``role``, and stop it when the role is lost."""
        key = self.view.keys.role(role)
        with self.view.changes() as changed:
            while True:
                await self._opened.wait()
                session = self._session
                if session is not None and await self._got(key, session):
                    _log.info("role taken", role=role)
                    await self._work(role, work, Held(key, session))
                else:
                    await next_change(changed, _ASK_AGAIN_S)

    async def _live(self) -> None:
        member = self.member()
        session = await self._store.open_session(f"horde miner {member.hotkey}", self.ttl_s, ephemeral=True)
        self._session = session
        key = self.view.keys.member(member.hotkey)
        while not await self._store.acquire(key, as_json(member), session):
            await asyncio.sleep(_RETRY_S)  # our own session of before a restart still has to run out
            await self._store.renew(session)
        self._lost.clear()
        self._opened.set()
        renewed_s = monotonic_s()
        while True:
            await asyncio.sleep(self.ttl_s / 4)
            try:
                await self._store.renew(session)
                renewed_s = monotonic_s()
            except CoordinationAway:
                if monotonic_s() - renewed_s > self.ttl_s:
                    self._end()  # it may have run out, so no role is ours; the key may still be there
                    await self._returned(session)
                    self._session = session
                    self._lost.clear()
                    self._opened.set()
                    renewed_s = monotonic_s()

    async def _returned(self, session: Session) -> None:
        """Wait for the store; the session may have outlived its absence."""
        while True:
            try:
                await self._store.renew(session)
            except CoordinationAway:
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _end(self) -> None:
        self._session = None
        self._opened.clear()
        self._lost.set()

    async def _got(self, key: str, session: Session) -> bool:
        try:
            return await self._store.acquire(key, self.member().hotkey, session)
        except (CoordinationAway, CoordinationDenied, SessionLost):
            return False

    async def _work(self, role: str, work: RoleWork, fence: Held) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                working = group.create_task(_awaited(work(fence)), name=role)
                losing = group.create_task(_awaited(self._lost.wait()))
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
