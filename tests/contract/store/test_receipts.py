"""Receipts: the first of its kind stays, pages keep their order, and nothing unacknowledged is forgotten."""

from datetime import timedelta

from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobAccepted, JobStarted, Payload, ReceiptType, signed_text
from horde_agents.store import receipts
from horde_agents.store.engine import Store
from horde_agents.store.receipts import Filed
from tests.contract.store.rows import AT

_JOB = "11111111-2222-4333-8444-55555555555{}"


def _started(number: int = 0, ttl: int = 60, validator: str = "validator", miner: str = "miner") -> Receipt:
    payload: Payload = JobStarted(
        job_uuid=_JOB.format(number),
        miner_hotkey=miner,
        validator_hotkey=validator,
        timestamp=AT,
        executor_class="always_on.test",
        is_organic=True,
        ttl=ttl,
    )
    return Receipt(payload, "0xsigned", "0xcountersigned")


def _accepted(number: int = 0, miner: str = "miner") -> Receipt:
    payload = JobAccepted(
        job_uuid=_JOB.format(number),
        miner_hotkey=miner,
        validator_hotkey="validator",
        timestamp=AT,
        time_accepted=AT,
        ttl=60,
    )
    return Receipt(payload, "0xsigned", None)


async def _file(store: Store, receipt: Receipt, seconds: int = 0, page: int | None = None) -> Filed:
    at = AT + timedelta(seconds=seconds)
    return await store.writer.run(lambda c: receipts.file(c, receipt, at, page))


async def test_a_receipt_comes_back_with_the_very_text_that_was_signed(store: Store) -> None:
    receipt = _started()
    await _file(store, receipt)
    async with store.reading() as connection:
        found = await receipts.find(connection, receipt.payload)
    assert found == receipt
    assert found is not None
    assert signed_text(found.payload) == signed_text(receipt.payload)


async def test_the_first_receipt_of_its_kind_stays(store: Store) -> None:
    first, second, other_validator = _started(ttl=60), _started(ttl=99), _started(validator="another")
    assert await _file(store, first) == Filed(first, is_new=True)
    assert await _file(store, second) == Filed(first, is_new=False)
    assert await _file(store, other_validator) == Filed(other_validator, is_new=True)
    async with store.reading() as connection:
        assert await receipts.of_job(connection, _JOB.format(0)) == [first, other_validator]


async def test_an_attempt_that_its_signer_places_at_two_miners_has_a_receipt_at_each(store: Store) -> None:
    """On their pages both miners may show such receipts, countersigned."""
    here, there = _started(), _started(miner="another")
    await store.writer.run(lambda connection: receipts.import_all(connection, [here, there], AT))
    async with store.reading() as connection:
        assert await receipts.find(connection, here.payload) == here
        assert await receipts.find(connection, there.payload) == there
    assert await _file(store, there) == Filed(there, is_new=False)


async def test_a_page_grows_only_at_its_end(store: Store) -> None:
    order = [3, 1, 2]
    for number in order:
        await _file(store, _started(number), page=7)
    await _file(store, _started(4), page=8)
    async with store.reading() as connection:
        assert await receipts.on_page(connection, 7) == [_started(number) for number in order]


async def test_recent_receipts_of_a_miner_are_those_stored_since(store: Store) -> None:
    for number in range(4):
        await _file(store, _started(number), seconds=number)
    await _file(store, _accepted(5, miner="another"), seconds=9)
    async with store.reading() as connection:
        found = await receipts.since(connection, AT + timedelta(seconds=2), "miner")
    assert found == [_started(2), _started(3)]


async def test_what_a_miner_has_not_acknowledged_is_kept_for_it(store: Store) -> None:
    await _file(store, _started(1))  # travels inside the offer, so it is never sent again
    await _file(store, _accepted(1))
    await _file(store, _accepted(2), seconds=1)
    await _file(store, _accepted(3, miner="another"))
    acknowledged = ReceiptType.ACCEPTED.value
    await store.writer.run(lambda c: receipts.acknowledge(c, _JOB.format(1), acknowledged, AT))
    async with store.reading() as connection:
        assert await receipts.unacknowledged(connection, "miner", "validator", AT) == [_accepted(2)]
        assert (
            await receipts.unacknowledged(connection, "miner", "validator", AT + timedelta(seconds=2)) == []
        )
