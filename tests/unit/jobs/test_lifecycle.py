"""The job state machine: laws that hold for every history, then named stories."""

from dataclasses import fields
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.jobs.events import (
    Accepted,
    Cancelled,
    Declined,
    ExecutionDone,
    ExecutorReady,
    Expired,
    Finished,
    HordeFailed,
    JobEvent,
    JobFailed,
    Received,
    StreamingReady,
    VolumesReady,
    event_from_json,
    event_to_json,
    kind_of,
)
from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason
from horde_agents.jobs.lifecycle import RULES, Ignored, Job, NotAuthorised, advance, blamed, replay
from horde_agents.jobs.states import FINAL, MILESTONES, JobState, Role

contexts = st.dictionaries(st.text(), st.one_of(st.none(), st.integers(), st.text()), max_size=3)


def any_event(kind: type[JobEvent]) -> st.SearchStrategy[JobEvent]:
    names = {field.name for field in fields(kind)}
    given_context = {"context": contexts} if "context" in names else {}
    origins = st.sampled_from(sorted(RULES[kind].authority))
    return st.builds(kind, origin=origins, **given_context)


events = st.one_of(*(any_event(kind) for kind in RULES))
# a small world keeps collisions frequent: origin and kind decide, payloads hardly matter
histories = st.lists(
    st.one_of(
        *(
            st.builds(kind, origin=st.sampled_from(sorted(RULES[kind].authority)))
            for kind in RULES
            if kind is not StreamingReady
        )
    ),
    max_size=14,
)


def test_every_event_has_a_rule() -> None:
    assert set(RULES) == set(get_args(JobEvent))


def test_every_state_but_the_first_is_reachable_by_some_event() -> None:
    assert {rule.target for rule in RULES.values()} == set(JobState) - {JobState.SENT}


@given(histories)
def test_final_states_absorb_everything(history: list[JobEvent]) -> None:
    job = replay("7b1e", [*history, HordeFailed(Role.VALIDATOR)])
    assert job.state in FINAL
    assert replay("7b1e", [*job.history, *history]) == job


@given(histories)
def test_a_duplicated_history_changes_nothing(history: list[JobEvent]) -> None:
    twice = [event for event in history for _ in range(2)]
    assert replay("7b1e", twice) == replay("7b1e", history)


@given(histories)
def test_milestones_only_move_forward(history: list[JobEvent]) -> None:
    passed = [RULES[type(event)].target for event in replay("7b1e", history).history]
    ranks = [MILESTONES.index(state) for state in passed if state in MILESTONES]
    assert ranks == sorted(set(ranks))


@given(histories)
def test_the_stored_history_replays_to_the_stored_state(history: list[JobEvent]) -> None:
    job = replay("7b1e", history)
    assert replay("7b1e", job.history) == job


@given(histories, st.randoms(use_true_random=False))
def test_facilitator_agrees_with_validator_in_any_delivery_order(
    reports: list[JobEvent], rng: Random
) -> None:
    at_validator = replay("7b1e", reports)
    delivered = [*at_validator.history, *at_validator.history]
    rng.shuffle(delivered)
    assert replay("7b1e", delivered).state is at_validator.state


@given(events)
def test_an_event_reads_back_as_it_was_stored(event: JobEvent) -> None:
    assert event_from_json(kind_of(event), event_to_json(event)) == event


def test_batch_job_completes() -> None:
    job = replay(
        "7b1e",
        [
            Received(Role.VALIDATOR),
            Accepted(Role.MINER),
            ExecutorReady(Role.EXECUTOR),
            VolumesReady(Role.EXECUTOR),
            ExecutionDone(Role.EXECUTOR),
            Finished(Role.EXECUTOR, stdout="hello\n"),
        ],
    )
    assert job.state is JobState.COMPLETED


def test_completed_is_not_undone_by_a_late_horde_failure() -> None:
    done = replay("7b1e", [Received(Role.VALIDATOR), Finished(Role.MINER)])
    assert advance(done, HordeFailed(Role.VALIDATOR)) == Ignored("job already completed")


@pytest.mark.parametrize(
    "event",
    [
        Declined(Role.EXECUTOR),
        Accepted(Role.VALIDATOR),
        Finished(Role.VALIDATOR),
        Received(Role.MINER),
        JobFailed(Role.VALIDATOR),
        Expired(Role.MINER),
        Cancelled(Role.MINER),
    ],
)
def test_nobody_reports_what_is_not_theirs(event: JobEvent) -> None:
    with pytest.raises(NotAuthorised, match=f"{event.origin} may not report {kind_of(event)}"):
        advance(Job("7b1e"), event)


def test_a_failed_job_keeps_its_cause() -> None:
    failure = JobFailed(Role.EXECUTOR, JobFaultReason.NONZERO_RETURN_CODE, exit_status=3)
    job = replay("7b1e", [Accepted(Role.MINER), failure])
    assert (job.state, job.history[-1]) == (JobState.FAILED, failure)


def test_a_cancelled_job_is_failed() -> None:
    assert replay("7b1e", [Received(Role.VALIDATOR), Cancelled(Role.SDK)]).state is JobState.FAILED


def test_blame_looks_at_who_speaks_and_an_executor_is_its_miners() -> None:
    lost = HordeFaultReason.EXECUTOR_DISCONNECTED
    assert blamed(HordeFailed(Role.EXECUTOR, lost)) is Role.MINER
    assert blamed(HordeFailed(Role.FACILITATOR, lost)) is Role.FACILITATOR
    assert blamed(JobFailed(Role.EXECUTOR)) is None
    assert blamed(Finished(Role.MINER)) is None
