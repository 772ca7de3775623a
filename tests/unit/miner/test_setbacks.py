"""How long a place waits whose holders fail."""

from horde_agents.agents.miner.nomad.setbacks import Setbacks
from horde_agents.placement.holders import Dispatch, Holder
from horde_agents.placement.standings import Standing


def failed(generation: int, standing: Standing = Standing.FAILED) -> Holder:
    return Holder(f"job-{generation}", "c", 0, generation, standing)


def waits_s(setbacks: Setbacks, generation: int, now_s: float) -> float:
    dispatch = [Dispatch("c", 0, generation)]
    return 0.0 if setbacks.due(dispatch, now_s) else setbacks.next_due_s(dispatch, now_s, 1000.0)


def test_each_failure_in_a_row_doubles_the_wait_up_to_a_minute() -> None:
    setbacks, waits = Setbacks(), []
    for generation in range(1, 11):
        setbacks.note([failed(generation)], 0.0)
        waits.append(waits_s(setbacks, generation + 1, 0.0))
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_failure_counts_once_however_often_it_is_seen() -> None:
    setbacks = Setbacks()
    assert setbacks.note([failed(1)], 0.0) == [failed(1)]
    assert setbacks.note([failed(1)], 1.0) == []
    assert waits_s(setbacks, 2, 1.0) == 0


def test_holder_that_lived_long_before_it_failed_is_replaced_at_once() -> None:
    setbacks = Setbacks()
    for generation in (1, 2, 3):
        setbacks.note([failed(generation)], 0.0)
    setbacks.note([failed(4)], 500.0)
    assert waits_s(setbacks, 5, 500.0) == 0


def test_other_ends_and_other_places_do_not_wait() -> None:
    setbacks = Setbacks()
    setbacks.note([failed(1, Standing.STOPPED), failed(2, Standing.RECYCLED), failed(3, Standing.LOST)], 0.0)
    assert waits_s(setbacks, 4, 0.0) == 0
    for generation in (1, 2, 3):
        setbacks.note([failed(generation)], 0.0)
    assert setbacks.due([Dispatch("c", 1, 1), Dispatch("d", 0, 1)], 0.0) != []


def test_next_look_is_when_a_place_is_due_but_not_later_than_the_usual() -> None:
    setbacks = Setbacks()
    for generation in (1, 2):
        setbacks.note([failed(generation)], 0.0)
    assert setbacks.next_due_s([Dispatch("c", 0, 3)], 0.25, 15.0) == 0.75
    assert setbacks.next_due_s([Dispatch("c", 0, 3)], 5.0, 15.0) == 15.0
    assert setbacks.next_due_s([], 0.0, 15.0) == 15.0
