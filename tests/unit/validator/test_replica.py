"""The facilitator ends in the validator's state, however often and in whatever order it hears of events."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.validator.parts import LiveJob
from horde_agents.agents.validator.reactions import Forward, Plan, Step, TryAnother, react
from horde_agents.agents.validator.records import Change
from horde_agents.jobs import events
from horde_agents.jobs.budget import Limits
from horde_agents.jobs.events import JobEvent
from horde_agents.jobs.faults import HordeFaultReason, RejectionReason
from horde_agents.jobs.lifecycle import Job, Moved, advance, replay
from horde_agents.jobs.states import Role
from horde_agents.protocol.facilitator_validator import V0JobStatusUpdate, V2JobRequest
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.protocol.status_updates import event_of_update
from horde_agents.testing.signed_jobs import job_frame

MINER = Role.MINER
REPORTS: list[JobEvent] = [
    events.Accepted(MINER),
    events.ExecutorReady(MINER),
    events.VolumesReady(MINER),
    events.StreamingReady(MINER, "cert", "host", 1),
    events.ExecutionDone(MINER),
    events.Finished(MINER, "out", "err", {"/a/b": "AA=="}, {"x": "{}"}),
    events.JobFailed(MINER, exit_status=3, stdout="o", stderr="e"),
    events.Declined(MINER, RejectionReason.BUSY, "busy"),
    events.HordeFailed(MINER, HordeFaultReason.SECURITY_CHECK_FAILED, "host", {"cause": "docker_failed"}),
    events.HordeFailed(Role.VALIDATOR, HordeFaultReason.VOLUMES_TIMED_OUT, "late"),
    events.Expired(Role.VALIDATOR, "late"),
    events.Cancelled(Role.VALIDATOR, "taken back"),
]
REQUEST = V2JobRequest.model_validate(job_frame(KeypairSigner.from_uri("//Alice")))
PLAN = Plan(Limits(1, 2, 3), 3.0, 10.0, 7.0, is_streaming=False)


def forwarded(attempts: list[list[JobEvent]]) -> tuple[LiveJob, list[str]]:
    """What the validator tells about a job whose attempts report these events."""
    live = LiveJob(REQUEST, PLAN, "f", datetime.now(UTC), Job("u"))
    told: list[str] = []

    def take(event: JobEvent) -> None:
        change = Change(datetime.now(UTC), live.source)
        live.take(event, change)
        if change.job is not None:
            told.append(change.update_json)

    take(events.Received(Role.VALIDATOR))
    for index, reports in enumerate(attempts):
        record = Job(f"a{index}")
        another = False
        for event in reports:
            moved = advance(record, event)
            if not isinstance(moved, Moved):
                continue
            step = Step(moved.job, record.state, event, PLAN, may_retry=index + 1 < len(attempts))
            record = moved.job
            for effect in react(step):
                if isinstance(effect, Forward):
                    take(effect.event)
                another = another or isinstance(effect, TryAnother)
        if not another:
            break
    return live, told


@given(st.lists(st.lists(st.sampled_from(REPORTS), max_size=8), min_size=1, max_size=3), st.data())
def test_replica_agrees_whatever_the_order_and_number_of_deliveries(
    attempts: list[list[JobEvent]], data: st.DataObject
) -> None:
    live, told = forwarded(attempts)
    again = data.draw(st.lists(st.sampled_from(told), max_size=6))
    delivered = data.draw(st.permutations(told + again))
    heard = [event_of_update(V0JobStatusUpdate.model_validate_json(text)) for text in delivered]
    replica = replay("u", [event for event in heard if event is not None])
    assert replica.state is live.job.state


@given(st.lists(st.lists(st.sampled_from(REPORTS), max_size=8), min_size=1, max_size=3))
def test_no_status_is_told_twice_and_nothing_after_the_end(attempts: list[list[JobEvent]]) -> None:
    _, told = forwarded(attempts)
    states = [V0JobStatusUpdate.model_validate_json(text).status for text in told]
    assert len(states) == len(set(states))
    assert not any(state.is_final for state in states[:-1])
