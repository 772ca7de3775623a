"""How many holders there shall be, and what is dispatched or stopped for that."""

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.placement.holders import Dispatch, Holder, KeepingPlan, capacity, keeping_plan
from horde_agents.placement.standings import MEANINGS, Standing

CLASS = "always_on.test"
_ENDED = [standing for standing, meaning in MEANINGS.items() if meaning.ended]


def _holder(index: int, generation: int = 1, standing: Standing = Standing.RUNNING) -> Holder:
    return Holder(f"holder/{index}-{generation}-{standing.value}", CLASS, index, generation, standing)


@st.composite
def _pools(draw: st.DrawFn) -> list[Holder]:
    places = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), unique=True, max_size=12))
    return [_holder(index, generation, draw(st.sampled_from(Standing))) for index, generation in places]


def test_missing_holders_are_dispatched() -> None:
    plan = keeping_plan({CLASS: 2}, [])
    assert plan.dispatches == (Dispatch(CLASS, 0, 1), Dispatch(CLASS, 1, 1))
    assert plan.stops == ()


def test_ended_holder_is_replaced_by_its_next_generation() -> None:
    for standing in _ENDED:
        plan = keeping_plan({CLASS: 1}, [_holder(0, 4, standing)])
        assert plan.dispatches == (Dispatch(CLASS, 0, 5),)


def test_holder_that_lives_or_waits_is_not_dispatched_again() -> None:
    for standing in set(Standing) - set(_ENDED):
        plan = keeping_plan({CLASS: 1}, [_holder(0, 1, standing)])
        assert (plan.dispatches, plan.stops) == ((), ())


def test_surplus_and_unwanted_classes_are_stopped() -> None:
    holders = [_holder(0), _holder(1), _holder(2, standing=Standing.FAILED)]
    assert [stop.nomad_job_id for stop in keeping_plan({CLASS: 1}, holders).stops] == ["holder/1-1-running"]
    assert len(keeping_plan({}, holders).stops) == 2


def test_of_two_holders_in_one_place_the_older_is_stopped() -> None:
    plan = keeping_plan({CLASS: 1}, [_holder(0, 1), _holder(0, 2)])
    assert [stop.nomad_job_id for stop in plan.stops] == ["holder/0-1-running"]
    assert plan.dispatches == ()


def test_dispatch_that_is_repeated_has_the_same_token() -> None:
    holders = [_holder(0, 2, Standing.LOST)]
    first, again = (keeping_plan({CLASS: 1}, holders).dispatches[0].token("h") for _ in range(2))
    assert first == again == f"h/{CLASS}/0/3"


def test_holders_of_many_devices_fit_within_one_node() -> None:
    assert capacity(1, {"a": 3, "b": 2}) == 5
    assert capacity(2, {"a": 3, "b": 1}) == 1


@given(_pools(), st.integers(0, 5))
def test_plan_once_carried_out_leaves_nothing_to_do(holders: list[Holder], wanted: int) -> None:
    plan = keeping_plan({CLASS: wanted}, holders)
    stopped = {stop.nomad_job_id for stop in plan.stops}
    assert len(stopped) == len(plan.stops)
    tokens = {dispatch.token("h") for dispatch in plan.dispatches}
    assert len(tokens) == len(plan.dispatches)
    assert not tokens & {Dispatch(CLASS, h.index, h.generation).token("h") for h in holders}
    left = [holder for holder in holders if holder.nomad_job_id not in stopped]
    made = [_holder(dispatch.index, dispatch.generation) for dispatch in plan.dispatches]
    assert keeping_plan({CLASS: wanted}, [*left, *made]) == keeping_plan({}, [])
    living = [holder for holder in [*left, *made] if not MEANINGS[holder.standing].ended]
    assert len(living) == wanted


def test_who_has_a_slot_stays_before_the_place_of_one_that_ended_is_filled() -> None:
    holders = [_holder(0, 1, Standing.STOPPED), _holder(1), _holder(2)]
    assert keeping_plan({CLASS: 2}, holders) == KeepingPlan()


def test_who_waits_for_a_slot_goes_before_who_has_one() -> None:
    holders = [_holder(0, 1, Standing.SHORT), _holder(1)]
    (stop,) = keeping_plan({CLASS: 1}, holders).stops
    assert stop.nomad_job_id == holders[0].nomad_job_id
