"""When another miner gets the job, and when the user hears of the first one's end."""

from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason, RejectionReason
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.validator_miner import V0DeclineJobRequest, V0JobFinishedReceiptRequest
from horde_agents.testing.scripted_miner import Talk
from tests.fixtures.validator import Stage


async def declines(talk: Talk) -> None:
    await talk.greet()
    offer = await talk.until(frames.V0InitialJobRequest)
    await talk.send(V0DeclineJobRequest(job_uuid=offer.job_uuid, reason=RejectionReason.BUSY, message="full"))
    await talk.until(V0JobFinishedReceiptRequest)


async def fails_before_accepting(talk: Talk) -> None:
    await talk.greet()
    offer = await talk.until(frames.V0InitialJobRequest)
    await talk.send(
        frames.V0HordeFailedRequest(
            job_uuid=offer.job_uuid, reported_by=Role.MINER, reason=HordeFaultReason.EXECUTOR_SPINUP_FAILED
        )
    )
    await talk.until(V0JobFinishedReceiptRequest)


async def fails_after_accepting(talk: Talk) -> None:
    await talk.greet()
    uuid = await talk.accept()
    await talk.send(
        frames.V0HordeFailedRequest(
            job_uuid=uuid, reported_by=Role.EXECUTOR, reason=HordeFaultReason.EXECUTOR_DISCONNECTED
        )
    )
    await talk.until(V0JobFinishedReceiptRequest)


async def users_command_fails(talk: Talk) -> None:
    await talk.greet()
    uuid = await talk.accept()
    await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
    await talk.until(frames.V0JobRequest)
    await talk.send(
        frames.V0JobFailedRequest(
            job_uuid=uuid, reason=JobFaultReason.NONZERO_RETURN_CODE, docker_process_exit_status=3
        )
    )
    await talk.until(V0JobFinishedReceiptRequest)


async def test_declined_job_goes_to_the_next_miner_and_user_hears_no_decline(stage: Stage) -> None:
    busy, idle = (
        await stage.miner("busy", script=declines, manifest={"always_on.test": 100}),
        await stage.miner(),
    )
    await stage.start(busy, idle)
    for _ in range(20):
        uuid = await stage.submit()
        job = await stage.facilitator.until_final(uuid)
        assert job.state is JobState.COMPLETED
        assert "rejected" not in stage.facilitator.states(uuid)
        if busy.of(frames.V0InitialJobRequest):
            break
    receipt = busy.of(V0JobFinishedReceiptRequest)[0]
    assert receipt.payload["score_str"] == "0.000000"


async def test_job_that_every_miner_declines_is_rejected_with_all_reasons(stage: Stage) -> None:
    one, two = await stage.miner("one", script=declines), await stage.miner("two", script=declines)
    await stage.start(one, two)
    uuid = await stage.submit()
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.REJECTED
    details = (stage.facilitator.updates[-1].metadata or {})["job_rejection_details"]
    assert (details["rejected_by"], details["reason"], details["message"]) == ("miner", "busy", "full")
    assert len(await stage.attempts(uuid)) == 2
    assert set(details["context"]["other_miners"]) == {one.hotkey, two.hotkey}


async def test_no_miner_for_job_says_why_for_each(stage: Stage) -> None:
    miner = await stage.miner(manifest={"always_on.gpu-24gb": 2})
    await stage.start(miner)
    job = await stage.run()
    assert job.state is JobState.REJECTED
    details = (stage.facilitator.updates[-1].metadata or {})["job_rejection_details"]
    assert details["reason"] == "no_miner_for_job"
    assert details["context"]["miners"] == {miner.hotkey: "offers no always_on.test"}
    assert miner.of(frames.V0InitialJobRequest) == []


async def test_hordes_failure_before_accepted_is_tried_elsewhere(stage: Stage) -> None:
    bad = await stage.miner("bad", script=fails_before_accepting, manifest={"always_on.test": 100})
    await stage.start(bad, await stage.miner())
    while not bad.of(frames.V0InitialJobRequest):
        assert (await stage.run()).state is JobState.COMPLETED


async def test_unreachable_miner_is_tried_and_passed_over(stage: Stage) -> None:
    gone = await stage.miner("gone", manifest={"always_on.test": 100})
    validator = await stage.start(gone, await stage.miner(), connect_s=0.3)
    await validator.polls.ask_unknown()
    await stage.close(gone)
    tried: list[JobState] = []
    while len(tried) < 2:
        uuid = await stage.submit()
        assert (await stage.facilitator.until_final(uuid)).state is JobState.COMPLETED
        tried = [attempt.state for attempt in await stage.attempts(uuid)]
    assert tried == [JobState.HORDE_FAILED, JobState.COMPLETED]


async def test_hordes_failure_after_accepted_is_the_jobs_end(stage: Stage) -> None:
    bad, idle = await stage.miner("bad", script=fails_after_accepting), await stage.miner(manifest={})
    await stage.start(bad, idle)
    uuid = await stage.submit()
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.HORDE_FAILED
    last = job.history[-1]
    assert isinstance(last, HordeFailed)
    assert (last.origin, last.reason) == (Role.EXECUTOR, HordeFaultReason.EXECUTOR_DISCONNECTED)
    assert len(await stage.attempts(uuid)) == 1


async def test_users_failing_command_is_never_tried_again_and_costs_the_miner_nothing(stage: Stage) -> None:
    one = await stage.miner("one", script=users_command_fails)
    two = await stage.miner("two", script=users_command_fails)
    await stage.start(one, two, incident_pause_s=60.0, decline_pause_s=60.0)
    uuid = await stage.submit()
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.FAILED
    assert len(await stage.attempts(uuid)) == 1
    assert await stage.blacklist() == {}


async def test_tries_are_bounded(stage: Stage) -> None:
    miners = [await stage.miner(f"m{n}", script=declines) for n in range(4)]
    await stage.start(*miners, max_attempts=2)
    uuid = await stage.submit()
    assert (await stage.facilitator.until_final(uuid)).state is JobState.REJECTED
    assert len(await stage.attempts(uuid)) == 2


async def test_failing_miner_is_paused_until_the_pause_runs_out(stage: Stage) -> None:
    bad = await stage.miner("bad", script=fails_after_accepting)
    await stage.start(bad, incident_pause_s=60.0)
    await stage.run()
    barred = await stage.blacklist()
    assert "executor_disconnected" in barred[bad.hotkey].note
    job = await stage.run()
    assert job.state is JobState.REJECTED
    details = (stage.facilitator.updates[-1].metadata or {})["job_rejection_details"]
    assert "executor_disconnected" in details["context"]["miners"][bad.hotkey]


async def test_busy_miner_gets_no_second_job_beyond_its_manifest(stage: Stage) -> None:
    miner = await stage.miner(script=hold_first)
    await stage.start(miner)
    first = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(first))
    job = await stage.run()
    assert job.state is JobState.REJECTED
    details = (stage.facilitator.updates[-1].metadata or {})["job_rejection_details"]
    assert details["context"]["miners"] == {miner.hotkey: "is busy with jobs of ours"}


async def hold_first(talk: Talk) -> None:
    await talk.greet()
    await talk.accept()
    while True:
        await talk.read()
