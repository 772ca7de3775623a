"""Receipts of peers' pages, and how far those were read: a known row stays, but for what is new in it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import JobProgress, JobStarted
from horde_agents.store import page_cursors, progress, receipts
from horde_agents.store.engine import Store
from tests.contract.store.rows import AT

_JOB = "11111111-2222-4333-8444-555555555555"
_LATER = AT + timedelta(hours=1)


def _started(by: str | None, ttl: int = 60) -> Receipt:
    payload = JobStarted(
        job_uuid=_JOB,
        miner_hotkey="miner",
        validator_hotkey="validator",
        timestamp=AT,
        executor_class="always_on.test",
        is_organic=True,
        ttl=ttl,
    )
    return Receipt(payload, "0xsigned", by)


def _progress(by: str | None, sequence: int = 1, run_us: int = 5) -> ProgressReceipt:
    payload = JobProgress(
        job_uuid=_JOB,
        miner_hotkey="miner",
        validator_hotkey="validator",
        timestamp=AT,
        sequence=sequence,
        run_us=run_us,
    )
    return ProgressReceipt(payload, "0xsigned", by)


async def _import(store: Store, found: Sequence[Receipt]) -> list[Receipt]:
    await store.writer.run(partial(receipts.import_all, found=found, at=_LATER))
    async with store.reading() as connection:
        return await receipts.of_job(connection, _JOB)


async def _import_progress(store: Store, found: Sequence[ProgressReceipt]) -> list[ProgressReceipt]:
    await store.writer.run(partial(progress.import_all, found=found, at=_LATER))
    async with store.reading() as connection:
        return await progress.of_job(connection, _JOB)


async def test_an_own_receipt_gets_the_miners_signature_once(store: Store) -> None:
    own = _started(None)
    await store.writer.run(lambda connection: receipts.file(connection, own, AT, page=7))
    assert await _import(store, [own]) == [own]
    assert await _import(store, [_started("0xfirst")]) == [_started("0xfirst")]
    assert await _import(store, [_started("0xsecond"), own]) == [_started("0xfirst")]
    async with store.reading() as connection:
        assert await receipts.on_page(connection, 7) == [_started("0xfirst")]


async def test_a_signature_under_another_text_is_not_taken_for_an_own_receipt(store: Store) -> None:
    own = _started(None)
    await store.writer.run(lambda connection: receipts.file(connection, own, AT))
    assert await _import(store, [_started("0xmine", ttl=99)]) == [own]


async def test_a_page_that_repeats_a_receipt_has_it_once_and_the_first_text_stays(store: Store) -> None:
    first = _started("0xfirst")
    assert await _import(store, [first, _started("0xsecond"), _started("0xthird", ttl=99), first]) == [first]
    assert await _import(store, []) == [first]


async def test_an_own_progress_receipt_is_filed_once_and_gets_the_miners_signature(store: Store) -> None:
    own = _progress(None)
    for receipt in (own, _progress(None, run_us=9)):
        await store.writer.run(partial(progress.file, receipt=receipt, at=AT))
    assert await _import_progress(store, [_progress("0xmine", run_us=9)]) == [own]
    signed, second = replace(own, miner_signature="0xmine"), _progress("0xmine", sequence=2)
    assert await _import_progress(store, [signed, signed, second, second]) == [signed, second]
    assert await _import_progress(store, [_progress("0xother")]) == [signed, second]


async def test_a_cursor_moves_and_stays_one_row_a_page(store: Store) -> None:
    for peer, page, read in (("ann", 1, 5), ("ann", 1, 9), ("ann", 2, 3), ("bob", 1, 7), ("ann", 1, 8)):
        await store.writer.run(partial(page_cursors.move, peer=peer, page=page, read_bytes=read, at=AT))
    async with store.reading() as connection:
        assert await page_cursors.of_peer(connection, "ann") == {1: 8, 2: 3}
        assert await page_cursors.of_peer(connection, "bob") == {1: 7}
    assert await store.writer.run(partial(page_cursors.evict, before_page=2)) == 2
    async with store.reading() as connection:
        assert await page_cursors.of_peer(connection, "ann") == {2: 3}
