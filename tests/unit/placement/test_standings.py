"""What Nomad's words about an allocation mean for the holder in it."""

import pytest

from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.placement.standings import (
    MEANINGS,
    AllocationFacts,
    Standing,
    allocation_standing,
    child_standing,
)

_DRAINED = "alloc was rescheduled because it was migrated"
_TOO_LONG = "allocation exceeded max_run_duration"


def test_every_standing_has_a_meaning() -> None:
    assert MEANINGS.keys() == set(Standing)


def test_what_has_ended_keeps_no_slot() -> None:
    assert not [standing for standing, meaning in MEANINGS.items() if meaning.ended and meaning.keeps_slot]


def test_what_ends_an_attempt_says_why() -> None:
    assert not [standing for standing, meaning in MEANINGS.items() if meaning.fault and not meaning.says]


def test_disconnected_holder_is_waited_for() -> None:
    meaning = MEANINGS[Standing.UNKNOWN]
    assert (meaning.keeps_slot, meaning.ended, meaning.fault) == (True, False, None)


def test_holder_that_ran_too_long_blames_the_job() -> None:
    assert MEANINGS[Standing.TIMED_OUT].fault is HordeFaultReason.EXECUTION_TIMED_OUT


@pytest.mark.parametrize("desired", ["run", "stop", "evict"])
@pytest.mark.parametrize(
    ("client", "standing"),
    [
        ("running", Standing.RUNNING),
        ("unknown", Standing.UNKNOWN),
        ("lost", Standing.LOST),
        ("failed", Standing.FAILED),
        ("of_a_newer_nomad", Standing.UNKNOWN),
    ],
)
def test_these_client_states_mean_the_same_whatever_is_desired(
    client: str, desired: str, standing: Standing
) -> None:
    assert allocation_standing(AllocationFacts(client, desired)) is standing


@pytest.mark.parametrize(
    ("desired", "description", "exit_code", "standing"),
    [
        ("run", "", 0, Standing.RECYCLED),
        ("run", "", 1, Standing.FAILED),
        ("run", "", 137, Standing.FAILED),
        ("run", "", None, Standing.FAILED),
        ("run", _TOO_LONG, 0, Standing.TIMED_OUT),
        ("stop", _TOO_LONG, 0, Standing.TIMED_OUT),
        ("stop", "", 0, Standing.STOPPED),
        ("stop", "", 1, Standing.STOPPED),
        ("stop", _DRAINED, 0, Standing.DRAINED),
        ("evict", "", 0, Standing.EVICTED),
        ("evict", "alloc was preempted", 0, Standing.EVICTED),
    ],
)
def test_complete_is_success_only_where_it_was_to_run_and_exited_with_zero(
    desired: str, description: str, exit_code: int | None, standing: Standing
) -> None:
    facts = AllocationFacts("complete", desired, description, exit_code)
    assert allocation_standing(facts) is standing


@pytest.mark.parametrize(
    ("desired", "standing"),
    [("run", Standing.STARTING), ("stop", Standing.STOPPED), ("evict", Standing.EVICTED)],
)
def test_pending_allocation_starts_unless_it_is_called_back(desired: str, standing: Standing) -> None:
    assert allocation_standing(AllocationFacts("pending", desired)) is standing


@pytest.mark.parametrize(
    ("stopped", "dead", "blocked", "standing"),
    [
        (False, False, False, Standing.QUEUED),
        (False, False, True, Standing.SHORT),
        (True, False, True, Standing.STOPPED),
        (False, True, False, Standing.STOPPED),
    ],
)
def test_dispatched_job_without_an_allocation_waits_or_is_stopped(
    *, stopped: bool, dead: bool, blocked: bool, standing: Standing
) -> None:
    assert child_standing(None, stopped=stopped, dead=dead, blocked=blocked) is standing


def test_allocation_says_more_than_its_job() -> None:
    running = AllocationFacts("running", "run")
    assert child_standing(running, stopped=True, dead=True, blocked=True) is Standing.RUNNING
