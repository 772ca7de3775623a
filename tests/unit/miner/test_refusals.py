"""The miner's list of executors that it has turned away."""

from horde_agents.agents.miner.refusals import Refusals


class Time:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_refused_executor_is_listed_with_its_reason_and_age() -> None:
    time = Time()
    refused = Refusals(time)
    refused.add("10.0.0.5", "gpu1:GPU-a", "it reports other devices")
    time.now_s = 12.0
    row = {"peer": "10.0.0.5", "slot_id": "gpu1:GPU-a", "ago_s": 12.0, "why": "it reports other devices"}
    assert refused.rows() == [row]


def test_who_comes_again_is_listed_once_and_last() -> None:
    refused = Refusals(Time())
    for peer in ("a", "b", "a"):
        refused.add(peer, "", "expired")
    assert [row["peer"] for row in refused.rows()] == ["b", "a"]


def test_who_is_taken_in_is_no_longer_listed() -> None:
    refused = Refusals(Time())
    refused.add("a", "", "Nomad's keys are not known")
    refused.add("a", "slot", "twin")
    refused.add("a", "other", "twin")
    refused.forget("a", "slot")
    assert [row["slot_id"] for row in refused.rows()] == ["other"]


def test_old_refusals_and_those_of_many_strangers_go() -> None:
    time = Time()
    refused = Refusals(time)
    for number in range(1000):
        refused.add(str(number), "", "forged")
    assert [refused.rows()[0]["peer"], len(refused.rows())] == ["900", 100]
    time.now_s = 601.0
    assert refused.rows() == []
