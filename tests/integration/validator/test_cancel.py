"""Taking a job back, before and after a miner has it."""

from typing import Any

from horde_agents.jobs.faults import JobFaultReason
from horde_agents.jobs.states import JobState
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.facilitator_validator import HordeCancelResult
from horde_agents.protocol.validator_miner import V0JobFinishedReceiptRequest
from horde_agents.testing.scripted_miner import STOCK, Talk
from tests.fixtures.validator import Stage


async def runs_until_cancelled(talk: Talk) -> None:
    await talk.greet()
    uuid = await talk.accept()
    await talk.until(frames.HordeCancelJob)
    await talk.send(
        frames.V0JobFailedRequest(
            job_uuid=uuid, reason=JobFaultReason.UNKNOWN, context={"cause": "cancelled"}
        )
    )
    await talk.until(V0JobFinishedReceiptRequest)


async def only_listens(talk: Talk) -> None:
    await talk.greet()
    await talk.listen_for(60)


async def accepts_and_listens(talk: Talk) -> None:
    await talk.greet()
    await talk.accept()
    await talk.listen_for(60)


async def cancel(stage: Stage, uuid: str) -> HordeCancelResult:
    known = len(stage.facilitator.cancel_results)
    frame: dict[str, Any] = {"message_type": "HordeCancelJob", "uuid": uuid, "message": "changed my mind"}
    await stage.facilitator.send(frame)
    await stage.facilitator.until(lambda: len(stage.facilitator.cancel_results) > known)
    return stage.facilitator.cancel_results[-1]


async def test_running_job_is_cancelled_through_the_miner(stage: Stage) -> None:
    miner = await stage.miner(script=runs_until_cancelled)
    await stage.start(miner)
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    assert (await cancel(stage, uuid)).accepted
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.FAILED
    details = (stage.facilitator.updates[-1].metadata or {})["job_failure_details"]
    assert details["context"]["cause"] == "cancelled"
    assert await stage.blacklist() == {}


async def test_job_without_an_accepted_attempt_is_cancelled_at_once(stage: Stage) -> None:
    miner = await stage.miner(script=only_listens)
    await stage.start(miner, reservation_s=60.0)
    uuid = await stage.submit()
    await miner.until(lambda: bool(miner.of(frames.V0InitialJobRequest)))
    assert (await cancel(stage, uuid)).accepted
    assert (await stage.facilitator.until_final(uuid)).state is JobState.FAILED
    await miner.until(lambda: bool(miner.of(frames.HordeCancelJob)))
    await stage.until_idle()
    (attempt,) = await stage.attempts(uuid)
    assert attempt.state is JobState.FAILED


async def test_stock_miner_cannot_cancel_and_the_job_goes_on(stage: Stage) -> None:
    await stage.start(await stage.miner(script=accepts_and_listens, extensions=STOCK))
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    result = await cancel(stage, uuid)
    assert not result.accepted
    assert "cannot" in result.message
    assert not stage.facilitator.replica[uuid].state.is_final


async def test_miner_that_ignores_a_cancel_does_not_hold_the_job(stage: Stage) -> None:
    await stage.start(await stage.miner(script=accepts_and_listens), cancel_grace_s=0.2)
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    assert (await cancel(stage, uuid)).accepted
    assert (await stage.facilitator.until_final(uuid)).state is JobState.FAILED


async def test_unknown_and_ended_jobs_cannot_be_cancelled(stage: Stage) -> None:
    await stage.start(await stage.miner())
    uuid = await stage.submit()
    await stage.facilitator.until_final(uuid)
    assert not (await cancel(stage, uuid)).accepted
    assert not (await cancel(stage, "00000000-0000-4000-8000-000000000000")).accepted
