"""A bundle of receipts is verified by its own bytes alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from horde_agents.protocol.signing import KeypairSigner, from_hex, to_hex, verify
from horde_agents.receipts.evidence import BundleWrong, LineVerdict, bundle_lines, check_header, verdicts
from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import Statement, signed_text
from tests.fixtures.receipt_lines import accepted, finished, progress, started

MINER, VALIDATOR = KeypairSigner.from_uri("//Miner"), KeypairSigner.from_uri("//Validator")
JOB = started(MINER, VALIDATOR)


def signatures(payload: Statement) -> tuple[str, str]:
    text = signed_text(payload)
    return to_hex(VALIDATOR.sign(text)), to_hex(MINER.sign(text))


def bundle() -> list[bytes]:
    found: list[Receipt | ProgressReceipt] = [
        Receipt(each, *signatures(each)) for each in (JOB, accepted(JOB), finished(JOB))
    ]
    found.append(ProgressReceipt(progress(JOB), *signatures(progress(JOB))))
    return [line.encode() for line in bundle_lines(found, {"cycle": 7})]


def judged(lines: list[bytes]) -> list[LineVerdict]:
    return list(verdicts(lines, lambda key, text, signature: verify(key, text, from_hex(signature))))


def changed(line: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    value = json.loads(line)
    change(value)
    return json.dumps(value).encode()


def test_a_bundle_as_exported_holds() -> None:
    lines = bundle()
    check_header(lines[0])
    assert [verdict.why for verdict in judged(lines[1:])] == [""] * 4
    assert judged(lines[1:])[2] == LineVerdict(4, f"JobFinishedReceipt of job {JOB.job_uuid}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda v: v.update(miner_signature=v["validator_signature"]), "not signed by its miner"),
        (lambda v: v.update(validator_signature=v["miner_signature"]), "not signed by its validator"),
        (lambda v: v.update(miner_signature=None), "not signed by its miner"),
        (lambda v: v.pop("miner_signature"), "not signed by its miner"),
        (lambda v: v.update(text=v["text"].replace('"ttl": 60', '"ttl": 61')), "not signed by its validator"),
        (lambda v: v.update(text=v["text"].replace(": ", ":")), "canonical"),
        (lambda v: v.update(text="{}"), "receipt payload"),
        (lambda v: v.update(text="[]"), "no JSON object"),
        (lambda v: v.update(text=7), "cannot be read"),
        (lambda v: v.pop("text"), "cannot be read"),
    ],
    ids=range(10),
)
def test_a_line_that_was_changed_does_not_hold(change: Callable[[dict[str, Any]], Any], why: str) -> None:
    (verdict,) = judged([changed(bundle()[1], change)])
    assert why in verdict.why


def test_a_line_of_garbage_does_not_hold_and_hides_no_other() -> None:
    lines = [b"{", b"\xff\n", b"[" * 100_000, bundle()[1]]
    assert [bool(verdict.why) for verdict in judged(lines)] == [True, True, True, False]


def test_a_receipt_that_comes_twice_counts_once() -> None:
    lines = [bundle()[1], bundle()[1]]
    assert [verdict.why for verdict in judged(lines)] == ["", "stands in the bundle twice"]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"format": "other/1"}', bundle()[1]])
def test_a_file_that_is_no_bundle_is_refused(line: bytes) -> None:
    with pytest.raises(BundleWrong, match="line 1"):
        check_header(line)
