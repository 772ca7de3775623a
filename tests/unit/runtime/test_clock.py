"""Instants are aware and written in one form."""

from datetime import UTC, datetime, timedelta, timezone

from horde_agents.runtime.clock import iso, monotonic_s, now


def test_the_present_is_aware_and_in_utc() -> None:
    assert now().utcoffset() == timedelta(0)


def test_monotonic_time_never_goes_back() -> None:
    readings = [monotonic_s() for _ in range(100)]
    assert readings == sorted(readings)


def test_an_instant_is_written_in_utc_whatever_its_zone() -> None:
    there = datetime(2026, 1, 2, 12, 4, 5, 678901, tzinfo=timezone(timedelta(hours=9)))
    assert iso(there) == "2026-01-02T03:04:05.678901Z"
    assert iso(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00Z"
