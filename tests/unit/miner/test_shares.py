"""Stake-fair sharing at a miner, over simulated hours: who gets how much, and what cannot be gained."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from horde_agents.agents.miner.chain_facts import ChainFacts
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.miner.shares import Shares
from horde_agents.agents.miner.slots import SlotCount
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted

CLASS = "always_on.test"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST_S = 60
SLOTS = 20


class World:
    """A miner's slots, and validators that ask for them every second as often as they want."""

    def __init__(self, stakes: dict[str, int], slots: int = SLOTS, seed: int = 1) -> None:
        settings = MinerSettings(
            hotkey_file=Path("x"), database_url="sqlite://", data_dir=Path("x"), share_window_s=3600
        )
        self.shares = Shares(settings, ChainFacts(validator_stakes=stakes))
        self.rng, self.slots, self.time_s, self.count = Random(seed), slots, 0, 0
        self.running: list[tuple[int, str]] = []
        self.had_s: Counter[str] = Counter()
        self.declined_for_share: Counter[str] = Counter()

    @property
    def at(self) -> datetime:
        return BEGAN + timedelta(seconds=self.time_s)

    def tick(self, wanting: dict[str, int], shortest_s: int = 20, longest_s: int = LONGEST_S) -> None:
        """One second, in which each validator asks for up to so many slots."""
        for end_s, uuid in [each for each in self.running if each[0] <= self.time_s]:
            self.running.remove((end_s, uuid))
            self.shares.ended(uuid, self.at)
        asks = [name for name, wanted in wanting.items() for _ in range(wanted)]
        self.rng.shuffle(asks)
        for name in asks:
            self.ask(name, self.rng.randint(shortest_s, longest_s))
        self.time_s += 1

    def ask(self, name: str, takes_s: int) -> bool:
        """Whether the validator got a slot."""
        self.count += 1
        uuid = str(UUID(int=self.count))
        free = self.slots - len(self.running)
        if self.shares.claim_against(name, CLASS, SlotCount(self.slots, free), self.at) is not None:
            self.declined_for_share[name] += 1
            return False
        if free == 0:
            self.shares.turned_away(Receipt(wish(uuid, name, self.at), "0x"), CLASS, self.at)
            return False
        self.shares.began(uuid, name, CLASS, self.at)
        self.running.append((self.time_s + takes_s, uuid))
        self.had_s[name] += takes_s
        return True

    def part_of(self, name: str) -> float:
        return self.had_s[name] / self.had_s.total()


def wish(uuid: str, validator: str, at: datetime) -> JobStarted:
    return JobStarted(
        job_uuid=uuid, miner_hotkey="m", validator_hotkey=validator, timestamp=at,
        executor_class=CLASS, is_organic=True, ttl=7,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_under_contention_each_gets_its_share_within_five_percent(seed: int) -> None:
    """Over twenty times the longest job, at twenty slots, whoever asks more often gains nothing."""
    world = World({"a": 50, "b": 30, "c": 20}, seed=seed)
    for _ in range(20 * LONGEST_S):
        world.tick({"a": 2, "b": 6, "c": 20})
    for name, share in (("a", 0.5), ("b", 0.3), ("c", 0.2)):
        assert abs(world.part_of(name) - share) < 0.05


def test_a_validator_without_rivals_gets_everything_at_once() -> None:
    world = World({"a": 1, "b": 99})
    for _ in range(300):
        world.tick({"a": SLOTS})
        assert len(world.running) == SLOTS
    assert not world.declined_for_share


def test_slots_are_never_kept_from_anybody_while_others_could_have_one_too() -> None:
    """Fewer wanted than there are: nobody is declined for its share, however much more it has had."""
    world = World({"a": 1, "b": 99})
    for _ in range(300):
        world.tick({"a": SLOTS // 2 if world.time_s % 60 == 0 else 0, "b": world.time_s % 60 == 1})
    assert not world.declined_for_share


def test_lent_capacity_is_taken_back_as_jobs_end() -> None:
    world = World({"a": 50, "b": 50})
    for _ in range(200):
        world.tick({"a": SLOTS})
    before = world.had_s.copy()
    for _ in range(2 * LONGEST_S):
        world.tick({"a": SLOTS, "b": SLOTS})
    gained = world.had_s - before
    assert gained["b"] / gained.total() > 0.8  # it had nothing so far, so it comes first


def test_a_validator_with_little_stake_gets_in_though_all_is_wanted_and_takes_little() -> None:
    world = World({"big": 10_000, "small": 1, "tiny": 1, "none": 0})
    for _ in range(15 * LONGEST_S):
        world.tick(dict.fromkeys(["big", "small", "tiny", "none"], 20))
    assert world.part_of("big") > 0.9
    assert world.had_s["small"] > 0
    assert world.had_s["tiny"] > 0


def test_splitting_stake_gains_nothing() -> None:
    whole = World({"a": 60, "b": 40})
    parts = {f"b{n}": 4 for n in range(10)}
    split = World({"a": 60, **parts})
    for _ in range(20 * LONGEST_S):
        whole.tick({"a": 20, "b": 20})
        split.tick({"a": 20, **dict.fromkeys(parts, 2)})
    assert sum(split.part_of(name) for name in parts) < whole.part_of("b") + 0.03
    dust = {f"b{n}": 1 for n in range(20)}
    crumbled = World({"a": 10_000, **dust})
    for _ in range(15 * LONGEST_S):
        crumbled.tick({"a": 20, **dict.fromkeys(dust, 1)})
    assert sum(crumbled.part_of(name) for name in dust) < 0.05 + 0.03


def test_one_that_asks_and_never_comes_keeps_a_slot_idle_once() -> None:
    """A validator below its share asks whenever all is busy, and takes nothing when something is free."""
    world = World({"a": 50, "troll": 50}, slots=1)
    idle_s = 0
    for _ in range(600):
        world.tick({"a": 1}, 10, 10)
        idle_s += not world.running
        if world.running:
            world.ask("troll", 10)
    assert idle_s < 120


def test_a_claim_names_numbers_and_who_comes_before() -> None:
    world = World({"a": 50, "b": 50}, slots=1)
    assert world.ask("a", 10)
    world.time_s = 5
    assert not world.ask("b", 10)
    world.time_s = 10
    world.shares.ended(str(UUID(int=1)), world.at)
    claim = world.shares.claim_against("a", CLASS, SlotCount(1, 1), world.at)
    assert claim is not None
    assert claim.usage_s == {"a": 10}
    assert {name: Fraction(text) for name, text in claim.shares.items()} == {
        "a": Fraction(1, 2), "b": Fraction(1, 2)
    }  # fmt: skip
    assert list(claim.asked) == ["b"]
    assert world.shares.claim_against("b", CLASS, SlotCount(1, 1), world.at) is None


def test_real_work_passed_off_as_synthetic_is_exempt_only_within_a_twentieth() -> None:
    shares, slots = World({"a": 1, "b": 1}).shares, SlotCount(1, 0)
    short = wish(str(UUID(int=1)), "a", BEGAN).model_copy(update={"is_organic": False})
    assert shares.is_exempt(short, slots, BEGAN)
    assert not shares.is_exempt(wish(str(UUID(int=2)), "a", BEGAN), slots, BEGAN)
    shares.began("x", "a", CLASS, BEGAN)
    shares.began_synthetic(short.model_copy(update={"job_uuid": "x"}), BEGAN)
    twentieth_s = 3600 // 20
    assert shares.is_exempt(short, slots, BEGAN + timedelta(seconds=twentieth_s))
    assert not shares.is_exempt(short, slots, BEGAN + timedelta(seconds=twentieth_s + 2))
    other = short.model_copy(update={"validator_hotkey": "b"})
    assert shares.is_exempt(other, slots, BEGAN + timedelta(seconds=twentieth_s + 2))
    shares.ended("x", BEGAN + timedelta(seconds=twentieth_s + 2))
    assert shares.is_exempt(short, slots, BEGAN + timedelta(seconds=3600 + twentieth_s + 3))
