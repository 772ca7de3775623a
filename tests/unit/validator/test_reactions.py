"""What the validator plans for each move of an attempt."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.validator.reactions import (
    Blame,
    ExtendClock,
    Forward,
    Plan,
    SendPayload,
    SignReceipt,
    StartClock,
    Step,
    TryAnother,
    as_cancelled,
    is_early,
    react,
    silence,
    why_impossible,
)
from horde_agents.jobs import events
from horde_agents.jobs.budget import Limits
from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.faults import HordeFaultReason, RejectionReason
from horde_agents.jobs.lifecycle import Job, Moved, advance
from horde_agents.jobs.states import MILESTONES, JobState, Role
from horde_agents.receipts.payloads import ReceiptType

MINER = Role.MINER
MILESTONE_EVENTS: list[JobEvent] = [
    events.Accepted(MINER),
    events.ExecutorReady(MINER),
    events.VolumesReady(MINER),
    events.StreamingReady(MINER, "cert", "host", 1),
    events.ExecutionDone(MINER),
]
ENDINGS: list[JobEvent] = [
    events.Finished(MINER),
    events.JobFailed(MINER),
    events.Declined(MINER, RejectionReason.BUSY),
    events.HordeFailed(MINER),
    events.HordeFailed(Role.VALIDATOR, HordeFaultReason.VOLUMES_TIMED_OUT),
    events.Expired(Role.VALIDATOR),
    events.Cancelled(Role.VALIDATOR),
]
SILENCES = [reason.value for reason in HordeFaultReason if "timed_out" in reason]


def name_of(event: JobEvent) -> str:
    return f"{type(event).__name__} by {event.origin}"


def plan(*, is_streaming: bool = False) -> Plan:
    limits = Limits(7, 100, 11, 13 if is_streaming else 0, 5)
    return Plan(limits, 30.0, 10.0, 7.0, is_streaming)


def step_of(job: Job, event: JobEvent, *, may_retry: bool = True, is_streaming: bool = False) -> Step:
    moved = advance(job, event)
    assert isinstance(moved, Moved)
    return Step(moved.job, job.state, event, plan(is_streaming=is_streaming), may_retry)


def attempt_with(*history: JobEvent) -> Job:
    job = Job("a")
    for event in history:
        moved = advance(job, event)
        assert isinstance(moved, Moved)
        job = moved.job
    return job


def reached(count: int) -> Job:
    return attempt_with(*[e for e in MILESTONE_EVENTS if not isinstance(e, events.StreamingReady)][:count])


def test_accepted_is_told_receipted_and_starts_the_spin_up() -> None:
    assert react(step_of(Job("a"), events.Accepted(MINER))) == (
        Forward(events.Accepted(MINER)),
        SignReceipt(ReceiptType.ACCEPTED, 30 + 10 + 5 + 7 + 100 + 11),
        StartClock(40.0),
    )


def test_payload_goes_out_before_anything_else_when_the_executor_is_ready() -> None:
    effects = react(step_of(reached(1), events.ExecutorReady(MINER)))
    assert effects == (SendPayload(), Forward(events.ExecutorReady(MINER)), StartClock(5 + 7))


@pytest.mark.parametrize("ending", ENDINGS, ids=name_of)
@pytest.mark.parametrize("count", range(5))
@pytest.mark.parametrize("may_retry", [True, False])
def test_every_end_signs_one_finished_receipt_and_has_one_outcome(
    ending: JobEvent, count: int, may_retry: bool
) -> None:
    effects = react(step_of(reached(count), ending, may_retry=may_retry))
    receipts = [effect for effect in effects if isinstance(effect, SignReceipt)]
    outcomes = [effect for effect in effects if isinstance(effect, Forward | TryAnother)]
    assert len(receipts) == len(outcomes) == 1
    assert receipts[0].receipt_type is ReceiptType.FINISHED
    assert receipts[0].amount_s == (118 if isinstance(ending, events.Finished) else 0)
    assert effects.index(receipts[0]) < effects.index(outcomes[0])


@pytest.mark.parametrize("ending", ENDINGS, ids=name_of)
def test_no_other_miner_is_tried_once_the_user_heard_accepted(ending: JobEvent) -> None:
    effects = react(step_of(reached(2), ending))
    assert not any(isinstance(effect, TryAnother) for effect in effects)


@pytest.mark.parametrize("ending", [ENDINGS[2], ENDINGS[3], ENDINGS[4]], ids=name_of)
def test_another_miner_is_tried_for_the_hordes_fault_only_while_allowed(ending: JobEvent) -> None:
    assert TryAnother(ending) in react(step_of(Job("a"), ending))
    assert Forward(ending) in react(step_of(Job("a"), ending, may_retry=False))


@pytest.mark.parametrize("ending", [ENDINGS[0], ENDINGS[1], ENDINGS[5], ENDINGS[6]])
def test_users_own_failure_or_wish_blames_nobody_and_is_never_tried_again(ending: JobEvent) -> None:
    effects = react(step_of(reached(3), ending))
    assert Forward(ending) in effects
    assert not any(isinstance(effect, Blame) for effect in effects)


@pytest.mark.parametrize("reason", [*SILENCES, "miner_connection_failed"])
def test_silence_and_absence_blame_the_miner(reason: str) -> None:
    fault = events.HordeFailed(Role.VALIDATOR, HordeFaultReason(reason))
    assert any(isinstance(e, Blame) and e.is_fault for e in react(step_of(Job("a"), fault)))


def test_own_breakdown_and_facilitators_word_blame_no_miner() -> None:
    for fault in (
        events.HordeFailed(Role.VALIDATOR, HordeFaultReason.UNHANDLED_EXCEPTION),
        events.HordeFailed(Role.FACILITATOR, HordeFaultReason.GENERIC_ERROR),
    ):
        assert not any(isinstance(e, Blame) for e in react(step_of(Job("a"), fault)))


def test_excused_decline_is_no_fault() -> None:
    step = step_of(Job("a"), ENDINGS[2])
    excused = Step(step.attempt, step.before, step.event, step.plan, step.may_retry, is_excused=True)
    assert any(isinstance(e, Blame) for e in react(step))
    assert not any(isinstance(e, Blame) for e in react(excused))


@given(st.sets(st.sampled_from([2, 3, 4])), st.booleans())
def test_running_clock_grants_the_whole_budget_whatever_milestones_are_skipped(
    kept: set[int], is_streaming: bool
) -> None:
    chosen = [0, 1, *sorted(kept | {4})]
    job, granted_s = Job("a"), 0.0
    for index in chosen:
        step = step_of(job, MILESTONE_EVENTS[index], is_streaming=is_streaming)
        job = step.attempt
        if index:
            granted_s += sum(e.granted_s for e in react(step) if isinstance(e, StartClock | ExtendClock))
    assert granted_s == plan(is_streaming=is_streaming).limits.running_s


def test_each_state_has_a_name_for_silence() -> None:
    for state in MILESTONES:
        if state is not JobState.RECEIVED:
            assert "timed_out" in silence(state, is_streaming=False)
    assert silence(JobState.VOLUMES_READY, is_streaming=True) == "streaming_job_ready_timed_out"
    assert silence(JobState.VOLUMES_READY, is_streaming=False) == "execution_timed_out"


def test_milestones_of_the_future_are_kept_until_the_payload_was_asked_for() -> None:
    ready, volumes = MILESTONE_EVENTS[1], MILESTONE_EVENTS[2]
    assert is_early(JobState.SENT, ready)
    assert not is_early(JobState.ACCEPTED, ready)
    assert is_early(JobState.ACCEPTED, volumes)
    assert not is_early(JobState.EXECUTOR_READY, volumes)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (JobState.SENT, events.JobFailed(MINER)),
        (JobState.SENT, events.Finished(MINER)),
        (JobState.ACCEPTED, events.Finished(MINER)),
        (JobState.ACCEPTED, events.ExecutionDone(MINER)),
        (JobState.ACCEPTED, events.Declined(MINER)),
    ],
)
def test_reports_that_no_honest_miner_makes_are_recognised(state: JobState, event: JobEvent) -> None:
    assert why_impossible(state, event) is not None


@given(st.sampled_from(list(JobState)), st.sampled_from(MILESTONE_EVENTS + ENDINGS))
def test_every_report_can_be_judged_in_every_state(state: JobState, event: JobEvent) -> None:
    if state is not JobState.RECEIVED:
        is_early(state, event)
        why_impossible(state, event)


def test_cancelled_report_counts_only_when_asked_for() -> None:
    report = events.JobFailed(MINER, context={"cause": "cancelled"})
    assert as_cancelled(report, was_asked=True) == events.Cancelled(Role.VALIDATOR, "")
    lie = as_cancelled(report, was_asked=False)
    assert isinstance(lie, events.HordeFailed)
    assert lie.origin is MINER


def test_grants_grow_with_the_stages() -> None:
    totals = list(accumulate([12, 100, 11]))
    assert all(a < b for a, b in pairwise(totals))
    job, seen = reached(1), []
    for event in (MILESTONE_EVENTS[1], MILESTONE_EVENTS[2], MILESTONE_EVENTS[4]):
        step = step_of(job, event)
        job = step.attempt
        seen += [e.granted_s for e in react(step) if isinstance(e, StartClock | ExtendClock)]
    assert list(accumulate(seen)) == totals
