"""Scores of cycles: stored once, found by cycle, newest first."""

from datetime import timedelta
from functools import partial

from horde_agents.store import cycle_scores
from horde_agents.store.cycle_scores import CycleScore
from horde_agents.store.engine import Store
from tests.contract.store.rows import AT


def _score(cycle: int, result: str = "{}") -> CycleScore:
    return CycleScore(cycle, '{"inputs":1}', result, AT + timedelta(seconds=cycle))


async def _put(store: Store, score: CycleScore) -> CycleScore:
    return await store.writer.run(partial(cycle_scores.put, score=score))


async def test_a_cycle_s_first_score_stays(store: Store) -> None:
    assert await _put(store, _score(5)) == _score(5)
    assert await _put(store, _score(5, '{"another":1}')) == _score(5)
    async with store.reading() as connection:
        assert await cycle_scores.get(connection, 5) == _score(5)
        assert await cycle_scores.get(connection, 6) is None


async def test_the_newest_score_is_the_one_of_the_newest_cycle(store: Store) -> None:
    async with store.reading() as connection:
        assert await cycle_scores.newest(connection) is None
    for cycle in (7, 9, -1, 8):
        await _put(store, _score(cycle))
    async with store.reading() as connection:
        assert await cycle_scores.newest(connection) == _score(9)
        assert await cycle_scores.numbers(connection, 3) == [9, 8, 7]


async def test_inputs_of_many_megabytes_come_back_whole(store: Store) -> None:
    large = CycleScore(1, "x" * 5_000_000, "y" * 1_000_000, AT)
    await _put(store, large)
    async with store.reading() as connection:
        assert await cycle_scores.get(connection, 1) == large
