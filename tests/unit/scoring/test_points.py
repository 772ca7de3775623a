"""What earns points and what does not, one rule a test."""

from fractions import Fraction

import pytest

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import Outcome, Work
from horde_agents.scoring.weights import score
from tests.unit.scoring.cycle_facts import (
    CLASS,
    SECOND_US,
    by_uid,
    class_score,
    counted,
    cycle_inputs,
    organic,
    synthetic,
)


def _points(*works: Work, **changes: object) -> Fraction:
    return Fraction(class_score(score(cycle_inputs(works, **changes)), "a").points)


def test_a_passed_synthetic_job_gives_one_point() -> None:
    assert _points(*synthetic("a", many=3)) == 3


def test_an_excused_synthetic_job_gives_one_point() -> None:
    assert _points(*synthetic("a"), *synthetic("a", Outcome.EXCUSED, many=2)) == 3


@pytest.mark.parametrize(
    "outcome", [Outcome.FAILED, Outcome.REJECTED_BADLY, Outcome.NOT_RUN, Outcome.HORDE_ENDED]
)
def test_other_synthetic_jobs_give_nothing_and_take_nothing(outcome: Outcome) -> None:
    assert _points(*synthetic("a", many=4), *synthetic("a", outcome, many=9)) == 4
    assert _points(*synthetic("a", outcome)) == 0


def test_synthetic_jobs_that_did_not_run_leave_the_weights_as_they_are() -> None:
    works = [*synthetic("a", many=4), *synthetic("b", many=4)]
    with_gap = [*works, *synthetic("a", Outcome.NOT_RUN, many=50)]
    assert by_uid(score(cycle_inputs(with_gap))) == by_uid(score(cycle_inputs(works))) == {0: 65535, 1: 65535}


def test_organic_work_gives_a_point_for_each_300_s() -> None:
    assert _points(organic("a", 450)) == Fraction(3, 2)


def test_the_seconds_of_a_point_are_a_setting() -> None:
    configuration = Configuration(class_weights={CLASS: 1}, organic_s_per_point=60)
    assert _points(organic("a", 450), configuration=configuration) == Fraction(15, 2)


def test_time_above_the_limit_of_a_job_gives_nothing() -> None:
    assert _points(organic("a", 3000, limit_us=600 * SECOND_US)) == 2


def test_each_user_gives_one_point_at_least() -> None:
    assert _points(organic("a", 1), organic("a", 2), organic("a", 3, user="another")) == 2


def test_jobs_of_one_user_are_summed_before_the_one_point() -> None:
    assert _points(*(organic("a", 100) for _ in range(6))) == 2


def test_a_user_without_work_gives_no_point() -> None:
    assert _points(organic("a", 0), organic("a", 500, Outcome.FAILED, user="another")) == 0


@pytest.mark.parametrize(
    "outcome", [Outcome.FAILED, Outcome.REJECTED_BADLY, Outcome.EXCUSED, Outcome.NOT_RUN]
)
def test_organic_work_that_did_not_pass_gives_nothing(outcome: Outcome) -> None:
    assert _points(organic("a", 600), organic("a", 900, outcome)) == 2


def test_a_job_that_the_horde_ended_earns_its_proven_time() -> None:
    assert _points(organic("a", 600, Outcome.HORDE_ENDED)) == 2
    assert _points(organic("a", 600), organic("a", 900, Outcome.HORDE_ENDED)) == 5


def test_a_job_that_the_horde_ended_is_not_topped_up_to_a_point() -> None:
    assert _points(organic("a", 30, Outcome.HORDE_ENDED)) == Fraction(1, 10)


def test_organic_points_end_at_the_share_of_the_measured_slots_time() -> None:
    works = [organic("a", 600, user=f"user-{number}") for number in range(100)]
    inputs = cycle_inputs(works, share="1/10", counts=(counted("a", 4),))
    found = class_score(score(inputs), "a")
    assert Fraction(found.organic_points) == 200
    assert Fraction(found.points) == Fraction(4 * 722 * 12, 10 * 300)
    assert found.allowance_bit


def test_many_users_of_one_miner_do_not_beat_the_allowance() -> None:
    works = [organic("a", 1, user=f"user-{number}") for number in range(10_000)]
    assert _points(*works, share="1/100", counts=(counted("a", 1),)) == Fraction(722 * 12, 100 * 300)


def test_synthetic_points_are_above_the_allowance() -> None:
    works = [*synthetic("a", many=5), organic("a", 600)]
    assert _points(*works, share="0/1", counts=(counted("a", 5),)) == 5


def test_a_cycle_without_a_batch_takes_the_last_one_s_count() -> None:
    works = [organic("a", 600, user=f"user-{number}") for number in range(1000)]
    two_slots = _points(*works, previous_counts=(counted("a", 2, batch="batch-0"),))
    assert two_slots == Fraction(2 * 722 * 12, 300)


def test_work_that_ran_shows_one_slot_where_nothing_was_measured() -> None:
    works = [organic("a", 600, user=f"user-{number}") for number in range(1000)]
    assert _points(*works) == Fraction(722 * 12, 300)


def test_executors_above_the_limit_of_a_class_count_for_nothing() -> None:
    configuration = Configuration(class_weights={CLASS: 1}, max_executors_per_class={CLASS: 2})
    works = [
        *synthetic("a", many=5),
        *synthetic("a", many=1, batch_uuid="batch-2"),
        *(organic("a", 3600, user=f"user-{number}") for number in range(100)),
    ]
    inputs = cycle_inputs(works, configuration=configuration, counts=(counted("a", 5),))
    found = class_score(score(inputs), "a")
    assert found.above_executor_limit == 3
    assert found.slots == 2
    assert Fraction(found.points) == 3 + Fraction(2 * 722 * 12, 300)
