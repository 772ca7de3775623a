"""Weights on their way: a cycle's first row stays, what becomes of it is written over it."""

from dataclasses import replace
from functools import partial

from horde_agents.store import weight_settings
from horde_agents.store.engine import Store
from horde_agents.store.weight_settings import WeightMode, WeightSetting, WeightState
from tests.contract.store.rows import AT


def _setting(cycle: int = 5) -> WeightSetting:
    return WeightSetting(cycle, 12, (1, 2), ("5One", "5Two"), (7, 65_535), AT, mode=WeightMode.SALTED)


async def test_the_first_row_of_a_cycle_stays(store: Store) -> None:
    other = replace(_setting(), values=(65_535, 1))
    added = [await store.writer.run(partial(weight_settings.add, setting=row)) for row in (_setting(), other)]
    assert added == [True, False]
    async with store.reading() as connection:
        assert await weight_settings.newest(connection, 9) == [_setting()]


async def test_a_row_comes_back_as_it_was_saved_last(store: Store) -> None:
    for cycle in (5, 6):
        await store.writer.run(partial(weight_settings.add, setting=_setting(cycle)))
    sent = replace(_setting().having(WeightState.SENT, "hidden"), salt=(1, 65_535), block=9, epoch=3, tries=2)
    over = sent.having(WeightState.CONFIRMED)
    for row in (sent, sent):
        await store.writer.run(partial(weight_settings.save, setting=row, at=AT))
    async with store.reading() as connection:
        assert await weight_settings.unfinished(connection) == [sent, _setting(6)]
    await store.writer.run(partial(weight_settings.save, setting=over, at=AT))
    async with store.reading() as connection:
        assert await weight_settings.unfinished(connection) == [_setting(6)]
        assert await weight_settings.newest(connection, 9) == [_setting(6), over]
