"""Slot-seconds by leases and by receipts: one sum, whoever counts."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from horde_agents.receipts.payloads import JobAccepted, JobFinished, JobStarted, Payload
from horde_agents.receipts.usage import UsageWindow, usage_by_receipts

CLASS = "always_on.test"
AT = datetime(2026, 5, 6, tzinfo=UTC)


def receipts_of(n: int, validator: str, began_s: float, took_s: float | None) -> list[Payload]:
    at = AT + timedelta(seconds=began_s)
    known = {"job_uuid": str(UUID(int=n)), "miner_hotkey": "m", "validator_hotkey": validator}
    found: list[Payload] = [
        JobStarted(**known, timestamp=at, executor_class=CLASS, is_organic=True, ttl=7),
        JobAccepted(**known, timestamp=at, time_accepted=at, ttl=1000),
    ]
    if took_s is not None:
        ended = at + timedelta(seconds=took_s)
        took_us = round(took_s * 1e6)
        done = {"time_started": at, "time_took_us": took_us, "score_str": "1", "block_numbers": []}
        found.append(JobFinished(**known, timestamp=ended, **done))
    return found


def test_leases_and_receipts_give_the_same_sum() -> None:
    rng, window, payloads = Random(2), UsageWindow(3600.0), []
    ends = []
    for n in range(1, 200):
        began_s, took_s = rng.randrange(0, 5000), rng.randrange(1, 300)
        is_open = began_s + took_s > 5000
        holder = rng.choice("abc")
        payloads += receipts_of(n, holder, began_s, None if is_open else took_s)
        ends.append((began_s + took_s, began_s, str(n), holder, is_open))
    for end_s, began_s, uuid, holder, is_open in sorted(ends):
        window.began(uuid, holder, AT.timestamp() + began_s)
        if not is_open:
            window.ended(uuid, AT.timestamp() + end_s)
    now = AT + timedelta(seconds=5000)
    by_leases = window.usage_s(now.timestamp())
    assert by_leases == usage_by_receipts(payloads, CLASS, now, 3600.0)
    assert set(by_leases) == set("abc")


def test_what_ended_before_the_window_counts_no_more() -> None:
    window = UsageWindow(100.0)
    window.began("1", "a", 0.0)
    window.ended("1", 10.0)
    assert window.usage_s(110.0) == {"a": 10}
    assert window.usage_s(111.0) == {}


def test_an_open_attempt_counts_with_what_it_has_had_and_no_more_than_the_window() -> None:
    window = UsageWindow(100.0)
    window.began("1", "a", 0.0)
    window.began("1", "a", 50.0)
    assert window.usage_s(30.0) == {"a": 30}
    assert window.usage_s(1000.0) == {"a": 100}
    assert window.usage_s(-5.0) == {}


def test_receipts_of_another_class_or_of_nothing_count_nothing() -> None:
    now = AT + timedelta(seconds=60)
    payloads = receipts_of(1, "a", 0, 50)
    assert usage_by_receipts(payloads, "other", now, 3600.0) == {}
    assert usage_by_receipts(payloads[1:], CLASS, now, 3600.0) == {}
    assert usage_by_receipts(payloads[:1], CLASS, now, 3600.0) == {}  # offered and never accepted


def test_a_finish_that_another_validator_signed_ends_nothing() -> None:
    """Else anybody could make a rival's use look small."""
    started, accepted, _ = receipts_of(1, "a", 0, 50)
    _, _, foreign = receipts_of(1, "b", 0, 1)
    now = AT + timedelta(seconds=60)
    assert usage_by_receipts([started, accepted, foreign], CLASS, now, 3600.0) == {"a": 60}
