"""Shares of capacity by stake: nothing is gained by splitting, and idle slots are lent."""

import random
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.shares import Capacity, Shares, Use, fair_shares, may_take, shares_of

POOL, SMALL = Fraction("0.05"), Fraction("0.01")
HOUR_US = 3_600_000_000
STAKES = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 10**9), max_size=12)


@given(STAKES, st.integers(1, 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=80))
def test_no_split_of_stake_raises_the_sum_of_shares(
    others: dict[str, int], rest: int, cuts: list[int]
) -> None:
    parts = {f"part {number}": rao for number, rao in enumerate([rest, *cuts])}
    whole = fair_shares({**others, "whole": sum(parts.values())}, POOL, SMALL)
    split = fair_shares({**others, **parts}, POOL, SMALL)
    assert sum(split[name] for name in parts) <= whole["whole"]


@given(STAKES)
def test_shares_are_stake_and_the_pool_has_its_size_at_most(stakes: dict[str, int]) -> None:
    total = sum(stakes.values())
    shares = fair_shares(stakes, POOL, SMALL)
    small = [name for name, rao in stakes.items() if total and rao < SMALL * total]
    assert all(
        shares[name] == Fraction(stakes[name], total) for name in stakes if total and name not in small
    )
    assert sum(shares[name] for name in small) == min(
        POOL, Fraction(sum(stakes[name] for name in small), total or 1)
    )
    assert sum(shares.values()) <= 1


def test_stake_laid_partly_into_the_pool_gains_nothing() -> None:
    """If the others got what the pool leaves over, 0.47 and two times 0.01 would have more than 0.49."""
    others = {"large": 450, **{f"small {number}": 6 for number in range(10)}}
    whole = fair_shares({**others, "x": 490}, POOL, SMALL)
    split = fair_shares({**others, "x": 472, "y": 9, "z": 9}, POOL, SMALL)
    assert split["x"] + split["y"] + split["z"] <= whole["x"]


def _decide(asking: str, uses: dict[str, Use], free: int = 1) -> tuple[bool, str]:
    shares = shares_of({"a": 60, "b": 40}, Configuration())
    decision = may_take(asking, uses, shares, Capacity(10, free, 20 * HOUR_US, HOUR_US))
    return decision.takes, decision.why


def test_idle_slots_are_lent_whatever_was_used() -> None:
    assert _decide("a", {"a": Use(10**15, 9)}) == (True, "above its share, lent")


def test_above_its_share_it_waits_for_who_is_below() -> None:
    uses = {"a": Use(150 * HOUR_US, 6), "b": Use(10 * HOUR_US, 3, waiting=1)}
    assert _decide("a", uses) == (False, "above its share, and others wait")
    assert _decide("a", uses, free=2) == (True, "above its share, lent")
    assert _decide("b", uses) == (True, "within its share")


def test_who_does_not_wait_holds_nobody_back() -> None:
    assert _decide("a", {"a": Use(150 * HOUR_US, 6), "b": Use()})[0]


def test_without_a_free_slot_nobody_takes_one() -> None:
    assert _decide("b", {}, free=0) == (False, "no slot is free")


def test_a_validator_without_stake_is_lent_only_what_nobody_waits_for() -> None:
    assert _decide("nobody", {})[0]
    assert not _decide("nobody", {"b": Use(10**15, 4, waiting=1)})[0]


def test_all_slots_are_not_claimed_at_once_by_long_jobs() -> None:
    uses = {"a": Use(0, 6), "b": Use(0, 0, waiting=1)}
    assert _decide("a", uses) == (False, "above its share, and others wait")


@dataclass
class _Miner:
    """Twenty slots in steps of five minutes; in each, who wants jobs asks, in random order."""

    shares: Shares
    longest: dict[str, int]
    asks: dict[str, int]
    slots: int = 20
    window: int = 240
    running: list[tuple[str, int]] = field(default_factory=list)
    past: list[dict[str, int]] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    waiting: Counter[str] = field(default_factory=Counter)

    def step(self, now: int, rng: random.Random) -> None:
        self.running = [(who, end) for who, end in self.running if end > now]
        asks = [who for who, many in self.asks.items() for _ in range(many)]
        rng.shuffle(asks)
        served: Counter[str] = Counter()
        for who in asks:
            if len(self.running) == self.slots:
                break
            if may_take(who, self._uses(), self.shares, self._capacity(now)).takes:
                self.running.append((who, now + rng.randint(1, self.longest[who])))
                served[who] += 1
                self.waiting[who] = max(self.waiting[who] - 1, 0)
        self.waiting = Counter(asks) - served
        held = {who: sum(w == who for w, _ in self.running) for who in self.asks}
        self.past.append(held)
        for who, many in held.items():
            self.used[who] = self.used.get(who, 0) + many
            if now >= self.window:
                self.used[who] -= self.past[now - self.window][who]

    def part(self, who: str, since: int = 240) -> float:
        return sum(held[who] for held in self.past[since:]) / (self.slots * len(self.past[since:]))

    def _uses(self) -> dict[str, Use]:
        return {
            who: Use(
                self.used.get(who, 0) * 300_000_000,
                sum(w == who for w, _ in self.running),
                self.waiting[who],
            )
            for who in self.asks
        }

    def _capacity(self, now: int) -> Capacity:
        return Capacity(
            self.slots,
            self.slots - len(self.running),
            min(now + 1, self.window) * 300_000_000,
            12 * 300_000_000,
        )


def _run(
    stakes: dict[str, int], asks: dict[str, int] | None = None, longest: dict[str, int] | None = None
) -> _Miner:
    miner = _Miner(
        shares_of(stakes, Configuration()),
        dict.fromkeys(stakes, 12) | (longest or {}),
        dict.fromkeys(stakes, 3) | (asks or {}),
    )
    rng = random.Random(5)
    for now in range(480):
        miner.step(now, rng)
    return miner


MIX = {"a": 400, "b": 300, "c": 200, "d": 60, "s1": 9, "s2": 9, "s3": 9, "s4": 9, "s5": 4}


@cache
def _mixed() -> _Miner:
    return _run(MIX)


def test_saturated_use_converges_to_the_shares_within_five_percent_of_capacity() -> None:
    miner = _mixed()
    for who, rao in MIX.items():
        assert abs(miner.part(who) - rao / 1000) <= 0.05
    assert sum(miner.part(who) for who in MIX) >= 0.95


def test_a_large_holders_use_is_within_five_percent_of_its_share() -> None:
    miner = _mixed()
    for who in ("a", "b", "c"):
        assert abs(miner.part(who) / (MIX[who] / 1000) - 1) <= 0.05


def test_a_small_holder_does_not_starve() -> None:
    miner = _mixed()
    assert all(miner.part(who) >= 0.5 * MIX[who] / 1000 for who in ("s1", "s2", "s3", "s4"))


def test_who_asks_a_lot_more_gets_no_more() -> None:
    assert _run(MIX, asks={"c": 60}).part("c") <= 0.2 * 1.05


def test_long_jobs_get_no_more_than_the_share() -> None:
    assert _run(MIX, longest={"c": 24}).part("c") <= 0.2 * 1.08


def test_split_stake_uses_no_more() -> None:
    whole = _mixed().part("c")
    parts = {f"c{number}": 8 for number in range(25)}
    miner = _run(
        {**{who: rao for who, rao in MIX.items() if who != "c"}, **parts}, asks=dict.fromkeys(parts, 1)
    )
    assert sum(miner.part(who) for who in parts) <= whole + 0.01


def test_idle_capacity_is_used_in_full_by_who_wants_it() -> None:
    miner = _run(MIX, asks=dict.fromkeys(MIX, 0) | {"d": 20})
    assert miner.part("d") >= 0.95
