"""Rows for these tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from horde_agents.store.attempts import StoredAttempt
from horde_agents.store.jobs import StoredJob

#: An instant with microseconds, which both databases have to keep.
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def job(number: int = 1, **changes: Any) -> StoredJob:
    """The ``number``-th job of a user."""
    values: dict[str, Any] = {
        "uuid": f"job-{number}",
        "owner_hotkey": "owner",
        "signatory": "owner",
        "timestamp_ns": 1_767_322_245_678_901_234 + number,
        "signature": f"signature-{number}",
        "signed_sha256": "0" * 64,
        "request_json": '{"zeta": 1, "alpha": [2, "ü"]}',
        "validator_hotkey": "validator",
        "tag": "",
        "created_at": AT,
        "deadline_at": AT + timedelta(minutes=number),
    }
    return StoredJob(**values | changes)


def attempt(number: int = 1, **changes: Any) -> StoredAttempt:
    """The ``number``-th attempt at a job."""
    values: dict[str, Any] = {
        "uuid": f"attempt-{number}",
        "job_uuid": "job-1",
        "miner_hotkey": "miner",
        "validator_hotkey": "validator",
        "executor_class": "always_on.test",
        "slot_id": "",
        "created_at": AT,
        "deadline_at": AT + timedelta(minutes=1),
    }
    return StoredAttempt(**values | changes)
