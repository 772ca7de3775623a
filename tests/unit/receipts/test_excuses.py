"""The rule for excuses of synthetic jobs, each condition by name."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from horde_agents.protocol.signing import KeypairSigner
from horde_agents.receipts.excuses import Bad, Excused, ExcuseFacts, ExcuseLedger, NotRun, Signed
from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import JobAccepted, JobStarted
from horde_agents.runtime.clock import now
from tests.fixtures.receipt_lines import accepted, finished, progress, started

MINER, OTHER_MINER = KeypairSigner.from_uri("//Miner"), KeypairSigner.from_uri("//OtherMiner")
US, RICH, POOR = (KeypairSigner.from_uri(f"//{name}") for name in ("Us", "Rich", "Poor"))
AT = now()
TAO = 10**9
BEGAN = AT - timedelta(seconds=60)
OFFER = started(MINER, US, timestamp=AT, is_organic=False)


def job(validator: KeypairSigner = RICH, **change: Any) -> JobStarted:
    return started(MINER, validator, **{"timestamp": BEGAN, **change})


def shown(of: JobStarted, age_s: float | None = 5, **change: Any) -> list[Signed]:
    """All that a decline shows of one job."""
    found: list[Signed] = [Receipt(of, "0x1", "0x2"), Receipt(accepted(of, **change), "0x1", "0x2")]
    if age_s is not None:
        proof = progress(of, timestamp=AT - timedelta(seconds=age_s))
        found.append(ProgressReceipt(proof, "0x1", "0x2"))
    return found


def facts(**change: Any) -> ExcuseFacts:
    known = ExcuseFacts(
        own_hotkey=US.hotkey,
        stake_rao={US.hotkey: 50_000 * TAO, RICH.hotkey: 50_000 * TAO, POOR.hotkey: 49_999 * TAO},
        minimum_stake_rao=50_000 * TAO,
        offered=3,
        own_jobs_there=0,
        progress_interval_s=60,
        now=AT,
        is_signed=lambda receipt: bool(receipt.validator_signature and receipt.miner_signature),
        accepted_of=lambda _validator, _uuid: None,
        is_over=lambda _validator, _uuid: False,
        is_on_page=lambda _validator, _uuid: False,
    )
    return replace(known, **change)


def bad(receipts: list[Signed], **change: Any) -> str:
    judged = ExcuseLedger().judge_decline(OFFER, receipts, facts(**change))
    assert isinstance(judged, Bad)
    return judged.why


def test_an_accepted_receipt_with_fresh_progress_excuses() -> None:
    of = job()
    judged = ExcuseLedger().judge_decline(OFFER, shown(of), facts())
    assert judged == Excused(RICH.hotkey, of.job_uuid)


def test_the_validators_own_running_job_means_not_run() -> None:
    judged = ExcuseLedger().judge_decline(OFFER, shown(job()), facts(own_jobs_there=1))
    assert isinstance(judged, NotRun)


def test_nothing_shown_excuses_nothing() -> None:
    assert bad([]) == "no receipt was shown"


def test_a_signer_with_too_little_stake_does_not_excuse() -> None:
    assert "too little stake" in bad(shown(job(POOR)))


def test_a_receipt_of_ones_own_does_not_excuse() -> None:
    assert "its own jobs" in bad(shown(job(US)))


def test_a_synthetic_job_does_not_excuse_another() -> None:
    assert "synthetic" in bad(shown(job(is_organic=False)))


def test_a_job_of_another_class_does_not_excuse() -> None:
    assert "another class" in bad(shown(job(executor_class="spin_up-4min.gpu-24gb")))


def test_a_job_of_another_miner_does_not_excuse() -> None:
    of = started(OTHER_MINER, RICH, timestamp=BEGAN)
    assert "another class or miner" in bad(shown(of))


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("side", ["validator_signature", "miner_signature"])
def test_a_half_signed_receipt_does_not_excuse(which: int, side: str) -> None:
    receipts = shown(job())
    receipts[which] = replace(receipts[which], **{side: ""})  # type: ignore[arg-type]  # either field is text
    assert "signature" in bad(receipts)


def test_a_started_receipt_alone_does_not_excuse() -> None:
    assert "was taken" in bad(shown(job())[:1])


def test_an_accepted_receipt_without_its_started_one_does_not_excuse() -> None:
    assert "started receipt" in bad(shown(job())[1:])


def test_an_accepted_receipt_read_from_the_miners_page_counts_as_shown() -> None:
    of = job()
    receipts = [each for each in shown(of) if not isinstance(each.payload, JobAccepted)]
    judged = ExcuseLedger().judge_decline(OFFER, receipts, facts(accepted_of=lambda _v, _u: accepted(of)))
    assert isinstance(judged, Excused)


def test_a_job_whose_time_is_over_does_not_excuse() -> None:
    assert "not running" in bad(shown(job(), ttl=30))


def test_a_job_taken_after_the_offer_does_not_excuse() -> None:
    assert "not running" in bad(shown(job(timestamp=AT + timedelta(seconds=1))))


@pytest.mark.parametrize(("age_s", "excuses"), [(0, True), (120, True), (121, False), (-1, False)])
def test_progress_counts_for_two_intervals(age_s: float, *, excuses: bool) -> None:
    judged = ExcuseLedger().judge_decline(OFFER, shown(job(), age_s), facts())
    assert isinstance(judged, Excused) is excuses


def test_without_progress_the_validators_own_page_decides() -> None:
    receipts = shown(job(), age_s=None)
    assert "neither a progress receipt" in bad(receipts)
    judged = ExcuseLedger().judge_decline(OFFER, receipts, facts(is_on_page=lambda _v, _u: True))
    assert isinstance(judged, Excused)


def test_a_job_that_its_validator_ended_does_not_excuse() -> None:
    assert "over" in bad(shown(job()), is_over=lambda _v, _u: True, is_on_page=lambda _v, _u: True)


def test_a_job_excuses_once() -> None:
    ledger, receipts = ExcuseLedger(), shown(job())
    assert isinstance(ledger.judge_decline(OFFER, receipts, facts()), Excused)
    judged = ledger.judge_decline(OFFER, receipts, facts())
    assert judged == Bad("the job has excused another decline")


def test_a_signer_excuses_no_more_than_its_share_of_stake() -> None:
    """A third of the stake, and three executors: one, however many jobs it signs."""
    ledger = ExcuseLedger()
    assert isinstance(ledger.judge_decline(OFFER, shown(job()), facts()), Excused)
    share = {US.hotkey: 100_000 * TAO, RICH.hotkey: 50_000 * TAO}
    judged = ledger.judge_decline(OFFER, shown(job()), facts(stake_rao=share))
    assert isinstance(judged, Bad)
    assert "share of stake: 1 of 3" in judged.why


def test_one_bad_receipt_does_not_spoil_a_good_one() -> None:
    judged = ExcuseLedger().judge_decline(OFFER, [*shown(job(POOR)), *shown(job())], facts())
    assert isinstance(judged, Excused)


def test_finished_receipts_in_a_decline_are_not_looked_at() -> None:
    of = job()
    receipts = [*shown(of), Receipt(finished(of), "0x1", "0x2")]
    assert isinstance(ExcuseLedger().judge_decline(OFFER, receipts, facts()), Excused)
