"""The log of verdicts is checked by the reader: nothing can be changed, put in or taken out unseen."""

from typing import Any

import pytest

from horde_agents.cli.verdict_chain import chained, why_not_linked


def _log(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        row: dict[str, Any] = {
            "number": number,
            "attempt_uuid": f"a{number}",
            "job_uuid": f"j{number}",
            "cycle": 7,
            "is_organic": True,
            "batch_uuid": "",
            "miner_hotkey": "5Miner",
            "executor_class": "always_on.test",
            "user_hotkey": "5User",
            "outcome": "passed",
            "why": "bien exécuté",
            "run_us": 5,
            "limit_us": 6,
            "ended_at": "2026-11-27T12:00:00.000001Z",
            "previous_sha256": rows[-1]["chain_sha256"] if rows else "",
        }
        rows.append(row | {"chain_sha256": chained(row, row["previous_sha256"])})
    return rows


def _first_break(rows: list[dict[str, Any]]) -> tuple[int, str] | None:
    end = ""
    for row in rows:
        if why := why_not_linked(row, end):
            return row["number"], why
        end = row["chain_sha256"]
    return None


def test_the_hash_is_the_one_that_the_validators_store_writes() -> None:
    first, second = _log(2)
    assert first["chain_sha256"] == "b05d99ed6a10c4d87549b7b8c312086e97a529bb52af834928640aa412384d1b"
    assert second["chain_sha256"] == "b0dae5139a7d75401e426feddc1c474ef58dcab59e49d781618b54804c3dfcac"


def test_a_whole_log_fits() -> None:
    assert _first_break(_log(5)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("outcome", "failed"), ("run_us", 6), ("user_hotkey", "5Other"), ("ended_at", "2026-11-27T12:00:00Z")],
)
def test_a_changed_row_is_found(name: str, value: object) -> None:
    rows = _log(5)
    rows[2][name] = value
    assert _first_break(rows) == (3, "has another hash than its content")


def test_a_row_that_was_taken_out_is_missed() -> None:
    rows = _log(5)
    del rows[2]
    found = _first_break(rows)
    assert found is not None
    assert (found[0], "taken out" in found[1]) == (4, True)


def test_a_log_without_users_cannot_be_checked() -> None:
    rows = _log(2)
    rows[1]["user_hotkey"] = None
    found = _first_break(rows)
    assert found is not None
    assert "cannot be checked" in found[1]
