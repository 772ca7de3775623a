"""The two clocks agents read: wall time for records and peers, monotonic time for deadlines."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Seconds since some fixed instant; never goes back."""
    return time.monotonic()


def iso(instant: datetime) -> str:
    """``2026-01-02T03:04:05.678901Z``, the form of every record and message of ours."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
