"""Who may serve here: what an executor's token vouches for, and whether its slot is this miner's now."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from horde_agents.agents.miner.tokens import check
from horde_agents.protocol.miner_executor import HordeExecutorHello
from horde_agents.runtime.clock import now


@dataclass(frozen=True, slots=True)
class Badge:
    """What a token vouches for: a slot and its class, or the Nomad allocation that has them."""

    slot_id: str = ""
    executor_class: str = ""
    allocation_id: str = ""


@dataclass(frozen=True, slots=True)
class Serve:
    """Take the executor into service."""


@dataclass(frozen=True, slots=True)
class SendOn:
    """Its slot serves another UID, whose miner is at ``address``."""

    address: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is known of its slot yet, or its owner is away: it waits for a change."""

    why: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """It is not what it says; ``why`` is told to it and logged."""

    why: str


Verdict: TypeAlias = Serve | SendOn | Hold | Refuse

#: What an executor is told that names an attempt where none is ever started for one.
NOT_MEANT: Final = Refuse("no executor is made for one attempt in this horde")


class Admission(Protocol):
    """Decides which executors a miner takes in."""

    async def badge(self, token: str) -> Badge:
        """Read a token.

        Raises:
            TokenWrong: forged, damaged, foreign or expired.
        """

    async def verdict(self, badge: Badge, hello: HordeExecutorHello) -> Verdict:
        """What becomes of an executor that presents itself, and of one that is idle here after a change."""

    def stays(self, badge: Badge, hello: HordeExecutorHello) -> bool:
        """Whether an executor that was taken in is plainly right here, by what is known without asking."""

    async def belied(self, badge: Badge, hello: HordeExecutorHello) -> str | None:
        """Why an executor cannot be the one whose running job it names; ``None`` where nothing says so.

        It may come back while the shared store is away, so only a contradiction is held against it.
        """

    def addresses(self) -> list[str]:
        """All miners of the horde, for an executor that loses this one."""

    def on_change(self, told: Callable[[], Awaitable[None]]) -> None:
        """Call ``told`` whenever verdicts may have changed."""


@dataclass(frozen=True, slots=True)
class OwnSlots:
    """The admission of a miner that shares no slots: a token of its own is enough."""

    secret: bytes

    async def badge(self, token: str) -> Badge:
        vouched = check(token, self.secret, now().timestamp())
        return Badge(vouched.slot_id, vouched.executor_class)

    async def verdict(self, badge: Badge, hello: HordeExecutorHello) -> Verdict:
        if (hello.slot_id, hello.executor_class) != (badge.slot_id, badge.executor_class):
            return Refuse("the greeting names another slot than the token")
        return NOT_MEANT if hello.meant_for else Serve()

    def stays(self, _badge: Badge, _hello: HordeExecutorHello) -> bool:
        return True

    async def belied(self, badge: Badge, hello: HordeExecutorHello) -> str | None:
        verdict = await self.verdict(badge, hello)
        return verdict.why if isinstance(verdict, Refuse) else None

    def addresses(self) -> list[str]:
        return []

    def on_change(self, told: Callable[[], Awaitable[None]]) -> None:
        """Nothing changes."""
