"""The verdict log: each attempt once, chained, and read back whole on every database."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import delete, update

from horde_agents.scoring.facts import BatchWork, MinerWork, OrganicWork, Outcome, Work
from horde_agents.scoring.tally import Tally, summed
from horde_agents.store import verdicts
from horde_agents.store.engine import Store
from horde_agents.store.tables import verdicts as table
from horde_agents.store.verdicts import ChainCheck, LogEnd, Verdict
from tests.contract.store.rows import AT

_POINT_US = 50
#: Also what no verdict could say: a log that cannot even be read must not stop its own check.
_CHANGES = [("outcome", "failed"), ("outcome", "splendid"), ("run_us", 9), ("run_us", -9), ("cycle", 1)]


def _verdict(number: int = 0, cycle: int = 7, why: str = "answer was right", **changes: Any) -> Verdict:
    work = Work(
        attempt_uuid=f"attempt-{number}",
        is_organic=number % 2 == 0,
        batch_uuid="" if number % 2 == 0 else "batch",
        miner_hotkey="miner",
        executor_class="always_on.test",
        user_hotkey="user" if number % 2 == 0 else "",
        outcome=Outcome.PASSED,
        run_us=number,
        limit_us=10,
    )
    ended_at = AT + timedelta(microseconds=number)
    return Verdict(replace(work, **changes), f"job-{number}", cycle, why, ended_at)


async def _append(store: Store, *rows: Verdict) -> list[bool]:
    return [await store.writer.run(partial(verdicts.append, verdict=row)) for row in rows]


async def _check(store: Store) -> ChainCheck:
    async with store.reading() as connection:
        return await verdicts.verify_chain(connection)


async def test_verdicts_come_back_as_they_were_in_their_order(store: Store) -> None:
    rows = [_verdict(number) for number in (3, 1, 2)]
    assert await _append(store, *rows) == [True, True, True]
    async with store.reading() as connection:
        assert [stored.verdict for stored in await verdicts.page(connection)] == rows
        assert [stored.verdict for stored in await verdicts.of_batch(connection, "batch")] == rows[:2]


async def test_an_attempt_has_one_verdict_and_the_first_stays(store: Store) -> None:
    assert await _append(store, _verdict(1), _verdict(1, why="another")) == [True, False]
    assert (await _check(store)).rows == 1


async def test_verdicts_added_together_are_chained_as_if_one_by_one(store: Store) -> None:
    rows = [_verdict(number) for number in (3, 1, 2)]
    await _append(store, rows[1])
    together = [rows[0], rows[1], replace(rows[0], why="another"), rows[2]]
    assert await store.writer.run(partial(verdicts.append_all, found=together)) == [rows[0], rows[2]]
    assert await store.writer.run(partial(verdicts.append_all, found=together)) == []
    async with store.reading() as connection:
        assert [each.verdict for each in await verdicts.page(connection)] == [rows[1], rows[0], rows[2]]
    assert await _check(store) == ChainCheck(3, None, (await _check(store)).end_sha256)


async def test_the_log_is_read_page_by_page(store: Store) -> None:
    await _append(store, *(_verdict(number, cycle=number % 2) for number in range(5)))
    async with store.reading() as connection:
        first = await verdicts.page(connection, rows=3)
        second = await verdicts.page(connection, after_id=first[-1].id, rows=3)
        odd = await verdicts.page(connection, cycle=1)
        one = await verdicts.page(connection, rows=-5)
    assert [stored.verdict.work.run_us for stored in (*first, *second)] == [0, 1, 2, 3, 4]
    assert [stored.verdict.work.run_us for stored in odd] == [1, 3]
    assert len(one) == 1


async def test_a_cycle_is_read_as_the_sums_of_its_own_verdicts(store: Store) -> None:
    rows = [_verdict(number, cycle=7 + number // 20) for number in range(30)]
    await _append(store, *rows)
    tally = Tally(_POINT_US)
    async with store.reading() as connection:
        end = await verdicts.end_of_cycle(connection, 7)
        async for chunk in verdicts.of_cycle(connection, 7, end):
            tally.add(chunk)
        stored = await verdicts.page(connection, cycle=7)
    assert tally.rows == 20
    assert tally.result() == summed((row.work for row in rows[:20]), _POINT_US)
    passed = {Outcome.PASSED: 10}
    organic = OrganicWork(passed, small_users=0, large_users=1, large_us=2 + 4 + 6 + 8 + 10 * 5)
    assert tally.result() == (MinerWork("miner", "always_on.test", (BatchWork("batch", passed),), organic),)
    assert end == LogEnd(stored[-1].id, stored[-1].chain_sha256)


async def test_verdicts_appended_after_the_end_was_taken_are_not_read(store: Store) -> None:
    await _append(store, _verdict(1), _verdict(2))
    async with store.reading() as connection:
        end = await verdicts.end_of_cycle(connection, 7)
    await _append(store, _verdict(3))
    tally = Tally(_POINT_US)
    async with store.reading() as connection:
        async for chunk in verdicts.of_cycle(connection, 7, end):
            tally.add(chunk)
        assert await verdicts.end_named(connection, end.chain_sha256) == end
        assert await verdicts.end_named(connection, "ab" * 32) is None
        assert await verdicts.end_of_cycle(connection, 6) == await verdicts.end_named(connection, "")
    assert tally.rows == 2


async def test_the_hash_of_a_row_is_the_one_that_the_documents_describe(store: Store) -> None:
    await _append(store, _verdict(1), _verdict(2))
    async with store.reading() as connection:
        first, second = await verdicts.page(connection)
    ended_us = int(AT.timestamp()) * 1_000_000 + AT.microsecond + 2
    row = (
        '{"attempt_uuid":"attempt-2","batch_uuid":"","cycle":7,'
        f'"ended_at":{ended_us},"executor_class":"always_on.test",'
        '"is_organic":true,"job_uuid":"job-2","limit_us":10,"miner_hotkey":"miner","outcome":"passed",'
        '"run_us":2,"user_hotkey":"user","why":"answer was right"}'
    )
    assert second.chain_sha256 == sha256((first.chain_sha256 + row).encode()).hexdigest()


async def test_the_chain_of_an_untouched_log_holds(store: Store) -> None:
    assert await _check(store) == ChainCheck(0, None, "")
    await _append(store, *(_verdict(number, why="h\u00f6rde \U0001f40e") for number in range(4)))
    check = await _check(store)
    assert (check.rows, check.broken_id) == (4, None)
    async with store.reading() as connection:
        assert check.end_sha256 == await verdicts.end_of_chain(connection)


@pytest.mark.parametrize(("column", "value"), _CHANGES)
async def test_a_verdict_that_was_changed_later_breaks_the_chain(
    store: Store, column: str, value: object
) -> None:
    await _append(store, *(_verdict(number) for number in range(3)))
    async with store.reading() as connection:
        second = (await verdicts.page(connection))[1]
    change = update(table).where(table.c.attempt_uuid == "attempt-1").values({column: value})
    await store.writer.run(lambda c: c.execute(change))
    assert (await _check(store)).broken_id == second.id


async def test_a_verdict_that_was_taken_out_breaks_the_chain(store: Store) -> None:
    await _append(store, *(_verdict(number) for number in range(3)))
    await store.writer.run(lambda c: c.execute(delete(table).where(table.c.attempt_uuid == "attempt-1")))
    async with store.reading() as connection:
        last = (await verdicts.page(connection))[-1]
    assert (await _check(store)).broken_id == last.id


async def test_a_reason_of_any_characters_is_stored_and_holds(store: Store) -> None:
    assert await _append(store, _verdict(1, why="a\0b\ud800" + "c" * 900)) == [True]
    async with store.reading() as connection:
        why = (await verdicts.page(connection))[0].verdict.why
    assert why == "a\ufffdb?" + "c" * 496
    assert (await _check(store)).broken_id is None


@pytest.mark.parametrize("changes", [{"run_us": -1}, {"limit_us": 2**62}, {"miner_hotkey": ""}])
def test_a_verdict_with_absurd_numbers_or_nobody_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attempt"):
        _verdict(1, **changes)
