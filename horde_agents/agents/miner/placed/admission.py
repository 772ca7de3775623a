"""Takes in the executors of slots that serve this UID, and sends the others to the miner of theirs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from horde_agents.agents.miner.admission import NOT_MEANT, Badge, Hold, Refuse, SendOn, Serve, Verdict
from horde_agents.agents.miner.placed.view import PlacementView
from horde_agents.placement.coordination import CoordinationAway, CoordinationDenied
from horde_agents.placement.records import Slot, SlotState
from horde_agents.protocol.miner_executor import HordeExecutorHello


class Tokens(Protocol):
    """Reads executors' tokens."""

    async def badge(self, token: str) -> Badge:
        """What it vouches for.

        Raises:
            TokenWrong: forged, damaged, foreign or expired.
        """


class OnDemand(Protocol):
    """Knows the holders that this miner has started for one attempt."""

    async def verdict(self, badge: Badge, hello: HordeExecutorHello) -> Verdict:
        """Whether this executor is the one that was started for ``hello.meant_for``."""


@dataclass(frozen=True, slots=True)
class SharedSlots:
    """The admission of a miner whose slots dance."""

    view: PlacementView
    hotkey: str
    tokens: Tokens
    on_demand: OnDemand | None = None

    async def badge(self, token: str) -> Badge:
        return await self.tokens.badge(token)

    async def verdict(self, badge: Badge, hello: HordeExecutorHello) -> Verdict:
        if badge.slot_id and badge.slot_id != hello.slot_id:
            return Refuse("the greeting names another slot than the token")
        if hello.meant_for:
            return await self.on_demand.verdict(badge, hello) if self.on_demand else NOT_MEANT
        if badge.executor_class and badge.executor_class != hello.executor_class:
            return Refuse(
                f"slot {hello.slot_id:.200} reports class {hello.executor_class!r:.80}; "
                f"its token is for {badge.executor_class}"
            )
        slot = self.view.state.slots.get(hello.slot_id)
        if slot is not None and hello.placement_epoch > slot.epoch:
            try:  # the executor was sent here by a newer picture than ours, or the record was made anew
                slot, _ = await self.view.slot_now(hello.slot_id)
            except (CoordinationAway, CoordinationDenied):
                return Hold(f"this miner's picture of slot {hello.slot_id:.200} is older than the executor's")
        if slot is None:
            return Hold(f"slot {hello.slot_id:.200} is not registered")
        return self._by_record(slot, badge, hello)

    async def belied(self, badge: Badge, hello: HordeExecutorHello) -> str | None:
        if badge.slot_id and badge.slot_id != hello.slot_id:
            return "the greeting names another slot than the token"
        if hello.meant_for:
            verdict = await self.on_demand.verdict(badge, hello) if self.on_demand else NOT_MEANT
            return verdict.why if isinstance(verdict, Refuse) else None
        slot = self.view.state.slots.get(hello.slot_id)
        if slot is None or not slot.allocation_id:
            return None
        if badge.allocation_id != slot.allocation_id:
            return f"slot {slot.slot_id} is kept by allocation {slot.allocation_id}, whose token this is not"
        return _why_other_hardware(slot, hello)

    def stays(self, badge: Badge, hello: HordeExecutorHello) -> bool:
        slot = self.view.state.slots.get(hello.slot_id)
        if slot is None or hello.placement_epoch > slot.epoch:
            return False
        return isinstance(self._by_record(slot, badge, hello), Serve)

    def addresses(self) -> list[str]:
        return self.view.addresses()

    def on_change(self, told: Callable[[], Awaitable[None]]) -> None:
        self.view.on_change(told)

    def _by_record(self, slot: Slot, badge: Badge, hello: HordeExecutorHello) -> Verdict:
        if badge.allocation_id != slot.allocation_id:
            return Hold(f"slot {slot.slot_id} is kept by allocation {slot.allocation_id or 'none'}")
        if why := _why_other_hardware(slot, hello) or _why_not_served(slot):
            return Refuse(why)
        return self._by_owner(slot)

    def _by_owner(self, slot: Slot) -> Verdict:
        if slot.owner == self.hotkey:
            return Serve()
        owner = self.view.state.members.get(slot.owner)
        if owner is None:
            return Hold(f"slot {slot.slot_id} serves {slot.owner or 'no UID yet'}, whose miner is away")
        return SendOn(owner.address, slot.epoch)


def _why_other_hardware(slot: Slot, hello: HordeExecutorHello) -> str | None:
    if tuple(sorted(hello.devices)) != tuple(sorted(slot.devices)):
        reported, given = ", ".join(hello.devices) or "none", ", ".join(slot.devices) or "none"
        return f"slot {slot.slot_id} reports devices {reported:.300}; it was given {given}"
    if hello.executor_class != slot.executor_class:
        return f"slot {slot.slot_id} reports class {hello.executor_class!r:.80}, not {slot.executor_class}"
    return None


def _why_not_served(slot: Slot) -> str | None:
    if slot.state is SlotState.CLASHING:
        return f"slot {slot.slot_id} shares a device with another slot"
    return f"the holder of slot {slot.slot_id} is about to end: {slot.leaving}" if slot.leaving else None
