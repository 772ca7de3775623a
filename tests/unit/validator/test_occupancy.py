"""Which executors our own receipts show busy, and which manifests can be meant."""

from datetime import UTC, datetime, timedelta

from horde_agents.agents.validator.manifests import sane_counts
from horde_agents.agents.validator.occupancy import Occupancy
from horde_agents.receipts.payloads import JobAccepted, JobFinished, JobStarted

CLASS = "always_on.test"
AT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def started(uuid: str, ttl: int = 7) -> JobStarted:
    return JobStarted(
        job_uuid=uuid, miner_hotkey="m", validator_hotkey="v", timestamp=AT,
        executor_class=CLASS, is_organic=True, ttl=ttl,
    )  # fmt: skip


def accepted(uuid: str, ttl: int = 600) -> JobAccepted:
    return JobAccepted(
        job_uuid=uuid, miner_hotkey="m", validator_hotkey="v", timestamp=AT, time_accepted=AT, ttl=ttl
    )


def finished(uuid: str) -> JobFinished:
    return JobFinished(
        job_uuid=uuid, miner_hotkey="m", validator_hotkey="v", timestamp=AT,
        time_started=AT, time_took_us=1, score_str="0.000000", block_numbers=[],
    )  # fmt: skip


def busy(occupancy: Occupancy, after_s: float, without: str = "") -> int:
    return occupancy.busy(["m"], CLASS, AT + timedelta(seconds=after_s), without=without)["m"]


def test_started_attempt_occupies_only_for_its_time_to_live() -> None:
    occupancy = Occupancy()
    occupancy.note(started(ONE))
    assert (busy(occupancy, 1), busy(occupancy, 60)) == (1, 0)


def test_accepted_attempt_occupies_until_it_is_finished() -> None:
    occupancy = Occupancy()
    for payload in (started(ONE), accepted(ONE), started(TWO), accepted(TWO)):
        occupancy.note(payload)
    assert busy(occupancy, 60) == 2
    assert busy(occupancy, 60, without=ONE) == 1
    occupancy.note(finished(ONE))
    assert busy(occupancy, 60) == 1


def test_a_newer_started_receipt_replaces_the_claim() -> None:
    occupancy = Occupancy()
    occupancy.note(started(ONE, ttl=60))
    occupancy.note(started(ONE, ttl=1))
    assert busy(occupancy, 30) == 0


def test_ended_attempt_frees_its_executor_without_a_receipt() -> None:
    occupancy = Occupancy()
    occupancy.note(started(ONE))
    occupancy.free("m", ONE)
    assert busy(occupancy, 1) == 0


def test_an_attempt_that_changes_its_class_counts_in_the_newest_alone() -> None:
    occupancy, other = Occupancy(), "always_on.gpu.a6000"
    occupancy.note(started(ONE, ttl=60))
    occupancy.note(started(ONE, ttl=60).model_copy(update={"executor_class": other}))
    assert busy(occupancy, 1) == 0
    assert occupancy.counts(other, AT) == {"m": 1}
    occupancy.free("m", ONE)
    assert not occupancy.counts(other, AT)
    assert busy(occupancy, 1) == 0


def test_unknown_classes_and_impossible_counts_are_left_out_of_a_manifest() -> None:
    announced = {CLASS: 3, "always_on.gpu-24gb": -4, "quantum": 9, "always_on.llm.a6000": 10**9}
    assert sane_counts(announced, 100) == {CLASS: 3, "always_on.llm.a6000": 100}
