"""What part of all capacity is each validator's, and whether one may take a slot now. Pure and exact.

A validator's share is its part of all stake. Those with little stake have one pool together, which is never
more than their stake nor than the pool's size. What the pool's size leaves over is nobody's and is lent:
if it went to the others, they would gain by laying a little of their stake into the pool.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from fractions import Fraction

from horde_agents.scoring.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of capacity by hotkey: ``fair`` is what is claimed, ``staked`` the part of all stake."""

    fair: Mapping[str, Fraction]
    staked: Mapping[str, Fraction]
    pooled: frozenset[str]

    def members(self, hotkey: str) -> Set[str]:
        """Whose use counts together: those in the pool, or the validator alone."""
        return self.pooled if hotkey in self.pooled else {hotkey}


@dataclass(frozen=True, slots=True)
class Use:
    """What one validator used at a miner: slot time in the window, running jobs up to now included.

    ``running`` are its jobs now; ``waiting`` are slots that it asked for lately and has not got.
    """

    slot_us: int = 0
    running: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """A miner's slots of one class, all and free, the window that use is counted in, and its longest job."""

    slots: int
    free: int
    window_us: int
    job_us: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Take or decline, with the numbers that anyone can check.

    ``used_us`` and ``entitled_us`` are slot time in the window; ``ahead`` are slots that others, who come
    first, wait for, with ``free`` ones to have.
    """

    takes: bool
    why: str
    used_us: int
    entitled_us: int
    ahead: int
    free: int


def fair_shares(
    stakes_rao: Mapping[str, int], small_pool_share: Fraction, small_pool_stake_share: Fraction
) -> dict[str, Fraction]:
    """Shares by hotkey, which sum to 1 at most.

    Who has less than ``small_pool_stake_share`` of all stake is in the pool, of ``small_pool_share`` at most.
    """
    return dict(_shares(stakes_rao, small_pool_share, small_pool_stake_share).fair)


def configured_shares(stakes_rao: Mapping[str, int], configuration: Configuration) -> dict[str, Fraction]:
    """``fair_shares`` by the knobs."""
    return dict(shares_of(stakes_rao, configuration).fair)


def shares_of(stakes_rao: Mapping[str, int], configuration: Configuration) -> Shares:
    """The shares and who is in the pool, by the knobs."""
    return _shares(
        stakes_rao, Fraction(configuration.small_pool_share), Fraction(configuration.small_pool_stake_share)
    )


def may_take(hotkey: str, uses: Mapping[str, Use], shares: Shares, capacity: Capacity) -> Decision:
    """Whether a validator that asks for a slot gets one.

    Within its share it does. Above, it is lent what no waiting validator claims: of those that have all
    had their share, whoever will have used the least for its stake, with one more job, comes first: without
    that job, many small ones would each run over by a part of one. So idle slots are lent at once, and are
    claimed back one by one, as jobs end.
    """
    used_us, entitled_us = _used_us(hotkey, uses), _entitled_us(hotkey, shares, capacity)
    ahead = 0
    if capacity.free <= 0:
        takes, why = False, "no slot is free"
    elif _claims(hotkey, uses, shares, capacity):
        takes, why = True, "within its share"
    else:
        ahead = sum(
            use.waiting
            for other, use in uses.items()
            if use.waiting and other != hotkey and _is_ahead(other, hotkey, uses, shares, capacity)
        )
        takes = ahead < capacity.free
        why = "above its share, lent" if takes else "above its share, and others wait"
    return Decision(takes, why, used_us, entitled_us, ahead, capacity.free)


def _shares(
    stakes_rao: Mapping[str, int], small_pool_share: Fraction, small_pool_stake_share: Fraction
) -> Shares:
    keys, total = sorted(stakes_rao), sum(stakes_rao.values())
    staked = {key: Fraction(stakes_rao[key], total) if total > 0 else Fraction(0) for key in keys}
    pooled = frozenset(key for key in keys if staked[key] < small_pool_stake_share)
    pool = sum((staked[key] for key in pooled), Fraction(0))
    rate = min(Fraction(1), small_pool_share / pool) if pool else Fraction(1)
    fair = {key: staked[key] * rate if key in pooled else staked[key] for key in keys}
    return Shares(fair, staked, pooled)


def _claims(hotkey: str, uses: Mapping[str, Use], shares: Shares, capacity: Capacity) -> bool:
    """Whether a slot is its own to claim: it, and its pool, used less than is due, then and now.

    That only so many run at once as are due keeps one from filling all slots with long jobs in one go.
    """
    if not shares.fair.get(hotkey):
        return False
    members = shares.members(hotkey)
    due = sum((shares.fair[member] for member in members), Fraction(0)) * capacity.slots
    running = sum(uses[member].running for member in members if member in uses)
    used_us = sum(uses[member].slot_us for member in members if member in uses)
    is_within = _used_us(hotkey, uses) < _entitled_us(hotkey, shares, capacity)
    return is_within and used_us < due * capacity.window_us and running < max(1, -int(-due // 1))


def _is_ahead(other: str, hotkey: str, uses: Mapping[str, Use], shares: Shares, capacity: Capacity) -> bool:
    if not shares.staked.get(other):
        return False
    if _claims(other, uses, shares, capacity):
        return True
    mine, its = shares.staked.get(hotkey, Fraction(0)), shares.staked[other]
    if not mine:
        return True
    then_us, its_then_us = _used_us(hotkey, uses) + capacity.job_us, _used_us(other, uses) + capacity.job_us
    return its_then_us * mine < then_us * its


def _used_us(hotkey: str, uses: Mapping[str, Use]) -> int:
    return uses[hotkey].slot_us if hotkey in uses else 0


def _entitled_us(hotkey: str, shares: Shares, capacity: Capacity) -> int:
    return int(shares.fair.get(hotkey, Fraction(0)) * capacity.slots * capacity.window_us)
