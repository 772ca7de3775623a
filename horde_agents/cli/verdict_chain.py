"""Checks rows of another validator's log of verdicts against their hashes. Pure.

A row's hash is the SHA-256 of the hash before it, in hexadecimal, and of the row's canonical JSON
(``scoring/canonical.py``), with instants in whole microseconds since 1970.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from horde_agents.scoring.canonical import canonical_json

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HASHED: Final = (
    "attempt_uuid",
    "job_uuid",
    "cycle",
    "is_organic",
    "batch_uuid",
    "miner_hotkey",
    "executor_class",
    "user_hotkey",
    "outcome",
    "why",
    "run_us",
    "limit_us",
)


def why_not_linked(row: Mapping[str, Any], end_sha256: str) -> str:
    """Why ``row`` does not follow a log that ends with ``end_sha256``; empty where it does."""
    if row["previous_sha256"] != end_sha256:
        return "does not follow the one before: something was taken out, or put in"
    if row["user_hotkey"] is None:
        return "cannot be checked: users are not named to readers that do not sign"
    if chained(row, end_sha256) != row["chain_sha256"]:
        return "has another hash than its content"
    return ""


def chained(row: Mapping[str, Any], end_sha256: str) -> str:
    """The hash of a row of the API behind ``end_sha256``."""
    ended_us = (datetime.fromisoformat(row["ended_at"]) - _EPOCH) // timedelta(microseconds=1)
    content = {name: row[name] for name in _HASHED} | {"ended_at": ended_us}
    return sha256(end_sha256.encode() + canonical_json(content).encode()).hexdigest()
