"""Excuses that spoil those of others; every receipt is really signed."""

from datetime import timedelta

from horde_agents.agents.validator.excuses import is_signed_by_both
from horde_agents.protocol.signing import KeypairSigner, to_hex
from horde_agents.receipts.excuses import Excused, ExcuseFacts, ExcuseLedger, Signed
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted, signed_text
from horde_agents.runtime.clock import now
from tests.fixtures.receipt_lines import accepted, started

HONEST, LIAR = KeypairSigner.from_uri("//Honest"), KeypairSigner.from_uri("//Liar")
US, RICH, ACCOMPLICE = (KeypairSigner.from_uri(f"//{name}") for name in ("Us", "Rich", "Accomplice"))
AT = now()
BEGAN = AT - timedelta(seconds=60)


def _shown(of: JobStarted, miner: KeypairSigner, validator: KeypairSigner) -> list[Signed]:
    """The started and the accepted receipt of a job, signed by both."""
    texts = [(payload, signed_text(payload)) for payload in (of, accepted(of))]
    return [
        Receipt(payload, to_hex(validator.sign(text)), to_hex(miner.sign(text))) for payload, text in texts
    ]


def _facts() -> ExcuseFacts:
    return ExcuseFacts(
        own_hotkey=US.hotkey,
        stake_rao={RICH.hotkey: 10**15, ACCOMPLICE.hotkey: 10**15},
        minimum_stake_rao=10**14,
        offered=1,
        own_jobs_there=0,
        progress_interval_s=60,
        now=AT,
        is_signed=is_signed_by_both,
        accepted_of=lambda _validator, _uuid: None,
        is_over=lambda _validator, _uuid: False,
        is_on_page=lambda _validator, _uuid: True,
    )


def test_a_receipt_that_names_anothers_job_uses_up_no_excuse() -> None:
    """Receipts are public: an accomplice signs the uuid of an honest miner's job, to be judged first."""
    job = started(HONEST, RICH, timestamp=BEGAN)
    twin = started(LIAR, ACCOMPLICE, timestamp=BEGAN, job_uuid=job.job_uuid)
    ledger = ExcuseLedger()

    liars_offer = started(LIAR, US, timestamp=AT, is_organic=False)
    first = ledger.judge_decline(liars_offer, _shown(twin, LIAR, ACCOMPLICE), _facts())
    assert isinstance(first, Excused)
    honest_offer = started(HONEST, US, timestamp=AT, is_organic=False)
    second = ledger.judge_decline(honest_offer, _shown(job, HONEST, RICH), _facts())
    assert second == Excused(RICH.hotkey, job.job_uuid)
