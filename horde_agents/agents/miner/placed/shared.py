"""Everything of a miner that shares its slots with other UIDs, put together by ``SharedPlacement``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from horde_agents.agents.miner.chain_facts import ChainFacts
from horde_agents.agents.miner.placed.choreographer import Choreographer
from horde_agents.agents.miner.placed.lease_marks import LeaseMarks
from horde_agents.agents.miner.placed.membership import Membership
from horde_agents.agents.miner.placed.own_slots import OwnSlotRecords
from horde_agents.agents.miner.placed.view import PlacementView
from horde_agents.agents.miner.settings import Dance, MinerSettings
from horde_agents.placement.dance import DanceRules
from horde_agents.placement.records import CHOREOGRAPHER, Member
from horde_agents.runtime.supervisor import Supervisor

#: Whether slots move between UIDs in a dance, by the setting; ``auto`` asks the chain's facts.
_MOVES_SLOTS: Final = {Dance.SLOTS: True, Dance.MAIN_HOTKEY: False, Dance.OFF: False}


@dataclass(slots=True)
class SharedPlacement:
    """``address`` is where this miner takes executors in."""

    view: PlacementView
    membership: Membership
    marks: LeaseMarks
    choreographer: Choreographer
    member: Callable[[], Member]

    @classmethod
    def of(
        cls, settings: MinerSettings, view: PlacementView, hotkey: str, address: str, facts: ChainFacts
    ) -> "SharedPlacement":
        """The parts of one miner."""

        def member() -> Member:
            return Member(hotkey, facts.uid, address, may_dance=settings.dance is not Dance.OFF)

        def moves_slots() -> bool:
            if settings.dance is Dance.AUTO:
                return facts.validators_reward_moved_slots()
            return _MOVES_SLOTS[settings.dance]

        def changes_main_hotkey() -> bool:
            return settings.dance is Dance.MAIN_HOTKEY or (settings.dance is Dance.AUTO and not moves_slots())

        choreographer = Choreographer(
            view,
            hotkey,
            DanceRules(settings.dance_least_per_class, settings.dance_largest_share),
            settings.owner_gone_s,
            lambda: facts.cycle(settings.cycle_blocks),
            moves_slots,
            changes_main_hotkey,
        )
        membership = Membership(view, member, settings.session_ttl_s)
        return cls(view, membership, LeaseMarks(view, member), choreographer, member)

    def start(
        self, supervisor: Supervisor, own_slots: OwnSlotRecords | None, is_open: Callable[[str], bool]
    ) -> None:
        """Start the loops; ``own_slots`` registers slots that no keeper does, ``is_open`` knows attempts."""
        supervisor.keep("placement", self.view.follow)
        supervisor.keep("membership", self.membership.keep)
        supervisor.keep("lease marks", self.marks.write)
        supervisor.keep("stale lease marks", lambda: self.marks.sweep(is_open))
        supervisor.keep("choreographer", lambda: self.membership.hold(CHOREOGRAPHER, self.choreographer.work))
        if own_slots is not None:
            supervisor.keep("own slots", lambda: own_slots.keep(self.member))

    def main_hotkey(self) -> str | None:
        """What to tell validators that ask; none when the horde has chosen none."""
        chosen = self.view.state.main_hotkey
        return chosen.hotkey if chosen else None
