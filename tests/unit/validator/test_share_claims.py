"""What a miner may say when it declines for share, and every way in which it can lie."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from horde_agents.agents.validator.directory import Directory
from horde_agents.agents.validator.shares import OwnShares
from horde_agents.protocol.signing import Hotkey, KeypairSigner, from_hex, to_hex, verify
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted, payload_object, signed_text
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.share_claims import Known, read_claim, why_unfair, wishes

CLASS, MINER = "always_on.test", "5Miner"
NOW = datetime(2026, 5, 6, tzinfo=UTC)
POOL = (Fraction(1, 20), Fraction(1, 100))
US, RIVAL = KeypairSigner.from_uri("//Us"), KeypairSigner.from_uri("//Rival")
UUID = "11111111-1111-4111-8111-111111111111"


def wish(signer: KeypairSigner = RIVAL, **change: Any) -> dict[str, Any]:
    values = {
        "job_uuid": UUID,
        "miner_hotkey": MINER,
        "validator_hotkey": RIVAL.hotkey,
        "timestamp": NOW - timedelta(seconds=5),
        "executor_class": CLASS,
        "is_organic": True,
        "ttl": 7,
    }
    payload = JobStarted(**values | change)
    signature = to_hex(signer.sign(signed_text(payload)))
    return {"payload": payload_object(payload), "validator_signature": signature}


def context(**change: Any) -> dict[str, Any]:
    fair = {
        "reason": "share",
        "executor_class": CLASS,
        "at": NOW.isoformat(),
        "window_s": 14400,
        "usage_s": {US.hotkey: 1000, RIVAL.hotkey: 300},
        "shares": {US.hotkey: "1/2", RIVAL.hotkey: "1/2"},
        "asked": {RIVAL.hotkey: wish()},
    }
    return fair | change


def known(**change: Any) -> Known:
    values: dict[str, Any] = {
        "own_hotkey": US.hotkey,
        "miner_hotkey": MINER,
        "executor_class": CLASS,
        "own_usage_s": 1000,
        "published_usage_s": {RIVAL.hotkey: 300},
        "stakes_rao": {US.hotkey: 50, RIVAL.hotkey: 50},
        "pool": POOL,
        "used_wishes": frozenset(),
        "now": NOW,
    }
    return Known(**values | change)


def is_signed(receipt: Receipt) -> bool:
    payload = receipt.payload
    return verify(payload.validator_hotkey, signed_text(payload), from_hex(receipt.validator_signature))


def judged(said: dict[str, Any], facts: Known | None = None) -> str | None:
    claim = read_claim(said)
    assert claim is not None
    return why_unfair(claim, facts or known(), is_signed)


def test_a_right_claim_holds() -> None:
    assert judged(context()) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"executor_class": "other"}, "another class"),
        ({"at": (NOW - timedelta(minutes=5)).isoformat()}, "not of now"),
        ({"at": (NOW + timedelta(minutes=5)).isoformat()}, "not of now"),
        ({"usage_s": {US.hotkey: 9000}}, "says that we had 9000 s"),
        ({"usage_s": {US.hotkey: 1000, RIVAL.hotkey: 0}}, "its receipts prove 300 s"),
        ({"usage_s": {US.hotkey: 1000, RIVAL.hotkey: 1200}}, "no less for its share"),
        ({"usage_s": {US.hotkey: 0, RIVAL.hotkey: 300}}, "no less for its share"),
        ({"shares": {US.hotkey: "1/20", RIVAL.hotkey: "19/20"}}, "by the metagraph"),
        ({"shares": {RIVAL.hotkey: "1"}}, "leaves our own share out"),
        ({"asked": {RIVAL.hotkey: wish(US)}}, "not signed by it"),
        ({"asked": {US.hotkey: wish(US, validator_hotkey=US.hotkey)}}, "not signed by it"),
        ({"asked": {RIVAL.hotkey: wish(timestamp=NOW - timedelta(minutes=10))}}, "too old"),
        ({"asked": {RIVAL.hotkey: wish(timestamp=NOW + timedelta(minutes=10))}}, "too old"),
        ({"asked": {RIVAL.hotkey: wish(miner_hotkey="5Other")}}, "about something else"),
        ({"asked": {RIVAL.hotkey: wish(executor_class="other")}}, "about something else"),
        ({"asked": {RIVAL.hotkey: {"payload": {}, "validator_signature": "0x"}}}, "cannot be read"),
    ],
)
def test_a_claim_that_says_something_wrong_does_not_hold(change: dict[str, Any], why: str) -> None:
    assert why in (judged(context(**change)) or "it holds")


def test_where_nobody_has_stake_all_have_the_same_share() -> None:
    assert judged(context(), known(stakes_rao={})) is None


def test_one_wish_excuses_one_decline() -> None:
    assert "excused a decline already" in (judged(context(), known(used_wishes=frozenset([UUID]))) or "")


def test_small_differences_of_clocks_and_readings_are_let_pass() -> None:
    said = context(
        shares={US.hotkey: "0.52", RIVAL.hotkey: "0.48"}, usage_s={US.hotkey: 1090, RIVAL.hotkey: 250}
    )
    assert judged(said) is None


@pytest.mark.parametrize(
    "change",
    [
        {"usage_s": {US.hotkey: "many"}},
        {"usage_s": [1]},
        {"usage_s": {f"v{n}": 1 for n in range(999)}},
        {"shares": {US.hotkey: "nan"}},
        {"shares": {US.hotkey: "-1/2"}},
        {"shares": {US.hotkey: "1/0"}},
        {"shares": {US.hotkey: 0.5}},
        {"shares": {US.hotkey: "9" * 999}},
        {"window_s": 10**12},
        {"window_s": -1},
        {"at": "yesterday"},
        {"at": "2026-05-06T00:00:00"},
        {"asked": {}},
        {"asked": {f"v{n}": wish() for n in range(999)}},
        {"asked": None},
    ],
)  # fmt: skip
def test_a_claim_that_is_garbage_is_none(change: dict[str, Any]) -> None:
    assert read_claim(context(**change)) is None


@pytest.mark.parametrize("usage_s", [{US.hotkey: -(10**30)}, {US.hotkey: 1000, RIVAL.hotkey: -(10**30)}])
def test_negative_use_proves_nothing(usage_s: dict[str, int]) -> None:
    assert read_claim(context(usage_s=usage_s)) is None


def test_the_wishes_of_a_claim_are_named_by_their_jobs() -> None:
    claim = read_claim(context())
    assert claim is not None
    assert wishes(claim) == {UUID}


def shares(stakes: dict[str, int]) -> OwnShares:
    return OwnShares(3600.0, Hotkey("us"), Directory(stake_rao=stakes))


def test_a_miner_at_which_we_had_more_than_our_share_is_less_likely_and_never_out() -> None:
    own = shares({"us": 25, "them": 75})
    for n in range(3):
        own.began(str(n), "much", CLASS, NOW - timedelta(seconds=3600))
    own.began("9", "little", CLASS, NOW - timedelta(seconds=60))
    offered = {name: {CLASS: 4} for name in ("much", "little", "new")}
    favour = own.favour(offered, Configuration(), NOW)
    assert favour["little"] == 1.0
    assert favour["much"] == pytest.approx(1 / 3)
    assert "new" not in favour


def test_without_stakes_no_miner_is_preferred() -> None:
    own = shares({})
    own.began("1", "m", CLASS, NOW - timedelta(seconds=3600))
    assert own.favour({"m": {CLASS: 1}}, Configuration(), NOW) == {}


def test_an_attempt_that_ended_counts_in_full_and_one_that_was_never_taken_not_at_all() -> None:
    own = shares({})
    own.began("1", "m", CLASS, NOW - timedelta(seconds=100))
    own.ended("1", "m", NOW - timedelta(seconds=40))
    own.ended("2", "m", NOW)
    own.ended("3", "stranger", NOW)
    assert own.usage_s("m", NOW) == {CLASS: 60}
    assert own.usage_s("stranger", NOW) == {}
