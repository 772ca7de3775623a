"""Receipts recorded from the published client: our bytes are the ones it signed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.protocol.signing import from_hex, verify
from horde_agents.receipts.ledger import Receipt, busy_count, is_excuse, valid_excuses
from horde_agents.receipts.pages import PAGE_S, page_line, page_of, slice_for
from horde_agents.receipts.payloads import (
    JobAccepted,
    JobFinished,
    JobStarted,
    ReceiptWrong,
    instant_text,
    read_payload,
    score_text,
    signed_text,
)

FRAMES = Path(__file__).parents[2] / "contract/frames/validator_to_miner"
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
JOB = "11111111-1111-4111-8111-111111111111"


def recorded() -> list[tuple[dict[str, Any], str]]:
    offer = json.loads((FRAMES / "V0InitialJobRequest/recorded.json").read_text())["frame"]
    found = [(offer["job_started_receipt_payload"], offer["job_started_receipt_signature"])]
    for name in ("V0JobAcceptedReceiptRequest", "V0JobFinishedReceiptRequest"):
        for path in sorted((FRAMES / name).glob("recorded*.json")):
            frame = json.loads(path.read_text())["frame"]
            found.append((frame["payload"], frame["signature"]))
    return found


@pytest.mark.parametrize(("value", "signature"), recorded())
def test_a_stock_signature_covers_our_bytes(value: dict[str, Any], signature: str) -> None:
    payload = read_payload(value)
    assert verify(payload.validator_hotkey, signed_text(payload), from_hex(signature))
    changed = read_payload({**value, "job_uuid": JOB})
    assert not verify(payload.validator_hotkey, signed_text(changed), from_hex(signature))


def started(uuid: str = JOB, **change: Any) -> JobStarted:
    known = {
        "job_uuid": uuid,
        "miner_hotkey": "m",
        "validator_hotkey": "v",
        "timestamp": NOON,
        "executor_class": "always_on.test",
        "is_organic": True,
        "ttl": 7,
    }
    return JobStarted(**{**known, **change})


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))  # noqa: DTZ001
def test_instants_read_back_as_they_were_written(naive: datetime) -> None:
    instant = naive.replace(tzinfo=UTC)
    text = instant_text(instant)
    assert datetime.fromisoformat(text) == instant
    assert text.endswith("Z")
    assert ("." in text) == (instant.microsecond != 0)


@pytest.mark.parametrize(
    "change",
    [
        {"job_uuid": JOB.upper().replace("1", "A")},
        {"job_uuid": "no uuid"},
        {"timestamp": "2026-01-02T03:04:05"},
        {"timestamp": "1999-12-31T23:59:59Z"},
        {"timestamp": "2100-01-01T00:00:00Z"},
        {"ttl": -1},
        {"ttl": 2_592_001},
        {"receipt_type": "JobInventedReceipt"},
    ],
)
def test_a_payload_out_of_bounds_is_refused(change: dict[str, Any]) -> None:
    value = json.loads(signed_text(started()))
    read_payload(value)
    with pytest.raises(ReceiptWrong):
        read_payload({**value, **change})


@pytest.mark.parametrize("score", ["-1", "1e9", "", "1.", ".5", "1" * 257, "nan"])
def test_a_score_that_is_no_plain_number_is_refused(score: str) -> None:
    value = {
        "job_uuid": JOB, "miner_hotkey": "m", "validator_hotkey": "v", "timestamp": "2026-01-02T03:04:05Z",
        "receipt_type": "JobFinishedReceipt", "time_started": "2026-01-02T03:04:05Z", "time_took_us": 1,
        "score_str": score_text(20), "block_numbers": [],
    }  # fmt: skip
    read_payload(value)
    with pytest.raises(ReceiptWrong):
        read_payload({**value, "score_str": score})


def test_a_miner_is_busy_from_started_through_accepted_until_finished() -> None:
    start = started()
    accept = JobAccepted(
        job_uuid=JOB, miner_hotkey="m", validator_hotkey="v", timestamp=NOON, time_accepted=NOON, ttl=60
    )
    finish = JobFinished(
        job_uuid=JOB, miner_hotkey="m", validator_hotkey="v", timestamp=NOON, time_started=NOON,
        time_took_us=1, score_str="0.000000", block_numbers=[],
    )  # fmt: skip
    later = NOON + timedelta(seconds=30)
    assert busy_count([start], "always_on.test", NOON) == 1
    assert busy_count([start], "always_on.test", later) == 0
    assert busy_count([start, accept], "always_on.test", later) == 1
    assert busy_count([start, accept], "always_on.llm.a6000", later) == 0
    assert busy_count([start, accept, finish], "always_on.test", later) == 0


def test_an_excuse_is_another_organic_job_of_the_class_that_runs_now() -> None:
    offer = started(uuid_of(0), timestamp=NOON + timedelta(seconds=5))
    good = Receipt(started(uuid_of(1)), "0x")
    others = [
        started(uuid_of(0)),
        started(uuid_of(2), is_organic=False),
        started(uuid_of(3), executor_class="always_on.llm.a6000"),
        started(uuid_of(4), miner_hotkey="other"),
        started(uuid_of(5), timestamp=NOON - timedelta(seconds=60)),
        started(uuid_of(6), timestamp=NOON + timedelta(seconds=60)),
    ]
    shown = [good, *(Receipt(payload, "0x") for payload in others)]
    assert [receipt for receipt in shown if is_excuse(receipt, offer)] == [good]


def test_a_validator_believes_each_excuse_once_and_only_of_signers_with_stake() -> None:
    offer = started(uuid_of(0), timestamp=NOON + timedelta(seconds=5), validator_hotkey="me")
    rich, poor, own = (
        Receipt(started(uuid_of(n), validator_hotkey=v), "0x")
        for n, v in enumerate(("rich", "poor", "me"), 1)
    )
    shown = [rich, rich, poor, own]
    stakes = {"rich": 30_000, "poor": 29_999}
    assert valid_excuses(shown, offer, stakes, 30_000, lambda _: True) == [rich, own]
    assert valid_excuses(shown, offer, stakes, 30_000, lambda receipt: receipt is own) == [own]


def test_pages_are_five_minutes_by_storing_time() -> None:
    assert (page_of(0), page_of(PAGE_S - 0.001), page_of(PAGE_S)) == (0, 0, 1)
    assert json.loads(page_line({"a": 1}, "0x1", "0x2")) == {
        "payload": {"a": 1},
        "validator_signature": "0x1",
        "miner_signature": "0x2",
    }


@pytest.mark.parametrize(
    ("header", "status", "start", "end"),
    [
        (None, 200, 0, 100),
        ("bytes=0-", 206, 0, 100),
        ("bytes=40-", 206, 40, 100),
        ("bytes=40-59", 206, 40, 60),
        ("bytes=40-500", 206, 40, 100),
        ("bytes=100-", 416, 0, 0),
        ("bytes=60-40", 416, 0, 0),
        ("bytes=-5", 416, 0, 0),
        ("lines=1-2", 416, 0, 0),
        ("bytes=" + "9" * 40 + "-", 416, 0, 0),
    ],
)
def test_a_range_is_answered_as_the_published_reader_wants(
    header: str | None, status: int, start: int, end: int
) -> None:
    part = slice_for(header, 100)
    assert (part.status, part.start, part.end, part.total) == (status, start, end, 100)
