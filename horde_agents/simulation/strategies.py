"""Honest work, and every known cheat: what a coalition's miners and validators do instead.

A cheat's docstring says what it does and what stands against it. Where the product cannot tell yet by
itself, what is seen is a number of ``world.Market``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from horde_agents.scoring.cycles import TOP_SEATS, TURN_SEATS
from horde_agents.simulation.acts import Act
from horde_agents.simulation.world import UIDS_PER_COLDKEY, World
from horde_agents.simulation.yuma import KAPPA

Change: TypeAlias = Callable[[World, Act], None]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to behave.

    ``dances`` moves the coalition's executors; ``copies`` sets the weights that the epoch before showed;
    ``splits`` divides the coalition's stake equally; ``needs_stake`` where there is nothing without any.
    """

    name: str
    change: Change
    dances: bool = True
    copies: bool = False
    splits: bool = False
    needs_stake: bool = False

    @property
    def what(self) -> str:
        """One sentence: what it does."""
        return (self.change.__doc__ or "").partition("\n")[0]


def honest(world: World, act: Act) -> None:
    """Do what the rules ask."""


def stand_still(world: World, act: Act) -> None:
    """Do all that the rules ask, and never dance."""


def copy_weights(world: World, act: Act) -> None:
    """Validators test nobody and set the consensus that the last reveal showed."""


def split_stake(world: World, act: Act) -> None:
    """Spread the stake equally over sixteen validators instead of a few."""


def claim_many_times(world: World, act: Act) -> None:
    """Claim each GPU four times.

    A batch fires on all at one instant: of the GPU's four claims one in two passes, by its speed, and those
    of the others only where the proof does not see through them.
    """
    mine = world.is_mine
    act.claimed[mine] = 3 * act.real[mine]
    act.claimed_pass[mine] = 1 - world.market.proof_detects
    act.real_pass[mine] *= 0.5
    act.faults[mine] = 0.2
    act.vouched[mine] = 4


def weaker_card(world: World, act: Act) -> None:
    """Rent twice as many cards of half the price, and name them as what they are not.

    The proof sees it; organic jobs take twice as long and often miss their limit.
    """
    mine = world.is_mine
    act.real[mine] *= 2
    act.real_pass[mine] *= 1 - world.market.proof_detects
    act.faults[mine] = 0.3
    act.vouched[mine] = 2


def permute_names(world: World, act: Act) -> None:
    """Permute device names, so that every second card passes for another; the proof binds work to it."""
    mine = world.is_mine
    act.real_pass[mine] *= 1 - world.market.proof_detects / 2
    act.faults[mine] = 0.1


def refuse_organic(world: World, act: Act) -> None:
    """Run batches only, and sell the time of organic jobs elsewhere."""
    act.serves[world.is_mine] = 0
    act.outside[world.is_mine] = world.market.busy


def forge_excuses(world: World, act: Act) -> None:
    """Claim twice the executors and excuse the false half by receipts with forged signatures."""
    act.claimed[world.is_mine] = act.real[world.is_mine]
    act.faults[world.is_mine] = 0.25


def reuse_excuses(world: World, act: Act) -> None:
    """Show one true receipt for several executors of a batch: it counts once, the rest is declined badly."""
    act.claimed[world.is_mine] = act.real[world.is_mine] // 2
    act.faults[world.is_mine] = 0.15


def withhold_finishes(world: World, act: Act) -> None:
    """Hold finished receipts back, so that ended jobs go on excusing; progress and signers' pages tell."""
    act.claimed[world.is_mine] = act.real[world.is_mine] // 4
    act.faults[world.is_mine] = 0.08


def collude_on_excuses(world: World, act: Act) -> None:
    """Claim twice the executors; own validators sign receipts for jobs that never run on the false half."""
    mine = world.is_mine
    act.claimed[mine] = act.real[mine]
    act.colluding[mine] = act.real[mine]
    act.vouched[mine] = 2


def self_dealing(factor: float) -> Change:
    """Own validators give own miners so many times what they did."""

    def change(world: World, act: Act) -> None:
        act.vouched[world.is_mine] = factor

    change.__doc__ = f"Own validators give own miners {factor:g} times what they did."
    return change


def split_jobs(world: World, act: Act) -> None:
    """Send tiny jobs of ten invented users through own validators to own miners: a point for each user."""
    act.extra_users[world.is_mine] = 10


def stretch_jobs(world: World, act: Act) -> None:
    """Let organic jobs take twice as long as they need, as time is what is paid.

    If what is paid is compared with a second miner's time, nothing more is paid and faults are noted.
    """
    mine = world.is_mine
    if world.rules.pays_compared_time:
        act.faults[mine] = 0.1
    else:
        act.stretch[mine] = 2


def inflate_manifest(world: World, act: Act) -> None:
    """Put three times as many executors into the manifest as there are: what is not there passes nothing."""
    act.claimed[world.is_mine] = 2 * act.real[world.is_mine]
    act.faults[world.is_mine] = 0.3


def hot_and_cold(world: World, act: Act) -> None:
    """Be there only in the seats of the validators with most of the stake, and sell all other time.

    Seats are public; the instant inside is private, so that the whole seat must be sat out.
    """
    others = np.where(world.is_ours, 0.0, world.stakes)
    order = np.argsort(-others, kind="stable")
    needed = KAPPA + 0.1 - world.stakes[world.is_ours].sum()
    many = int(np.searchsorted(np.cumsum(others[order]), max(needed, 0.0))) + 1
    part = many / (TOP_SEATS + TURN_SEATS)
    act.in_seat[np.ix_(order[many:], world.is_mine)] = False
    act.in_seat[np.ix_(world.is_ours, world.is_mine)] = True
    act.present[world.is_mine] = part
    act.outside[world.is_mine] = 1 - part


def fake_dancing(world: World, act: Act) -> None:
    """Hide a sixth of the executors, at one UID and at another in turn, so that counts alone move."""
    whole = world.executors[world.coldkeys]
    hides = np.arange(len(whole)) % UIDS_PER_COLDKEY == act.cycle % 2
    mine = world.is_mine & hides
    act.real[mine] = np.maximum(act.real[mine] - (whole[mine] + 5) // 6, 0)


STRATEGIES: Final = (
    Strategy("one GPU claimed many times", claim_many_times),
    Strategy("weaker card", weaker_card),
    Strategy("permuted device names", permute_names),
    Strategy("refused organic jobs", refuse_organic),
    Strategy("forged excuses", forge_excuses),
    Strategy("reused excuses", reuse_excuses),
    Strategy("withheld finishes", withhold_finishes),
    Strategy("colluding excuses", collude_on_excuses, needs_stake=True),
    Strategy("self-dealing, a little", self_dealing(1.2), needs_stake=True),
    Strategy("self-dealing, wholly", self_dealing(100.0), needs_stake=True),
    Strategy("job splitting", split_jobs, needs_stake=True),
    Strategy("job stretching", stretch_jobs),
    Strategy("copied weights", copy_weights, copies=True, needs_stake=True),
    Strategy("manifest inflation", inflate_manifest),
    Strategy("hot and cold", hot_and_cold),
    Strategy("fake dancing", fake_dancing, dances=False),
    Strategy("no dancing", stand_still, dances=False),
    Strategy("split stake", split_stake, splits=True, needs_stake=True),
)
HONEST: Final = Strategy("honest", honest)


class UnknownStrategy(Exception):
    """No strategy has this name; the text lists those that exist."""


def strategy_named(name: str) -> Strategy:
    """The strategy.

    Raises:
        UnknownStrategy: as its text says.
    """
    known = {strategy.name: strategy for strategy in STRATEGIES}
    if name not in known:
        raise UnknownStrategy(f"{name!r:.60} is no strategy; there are: {', '.join(known)}.")
    return known[name]
