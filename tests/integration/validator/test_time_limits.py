"""Each stage has its time limit; whoever lets it pass is named, and the miner still gets its receipt."""

import pytest

from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.validator_miner import V0AcceptJobRequest, V0JobFinishedReceiptRequest
from horde_agents.testing.scripted_miner import Script, Talk, finished
from tests.fixtures.validator import Stage

#: No stage but the start of an executor may take longer than this.
SHORT = {"download_time_limit": 0, "execution_time_limit": 1, "upload_time_limit": 0}


def stalls_after(count: int) -> Script:
    """Goes so many steps and then only listens."""

    async def script(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        uuid = offer.job_uuid
        steps = [
            V0AcceptJobRequest(job_uuid=uuid),
            frames.V0ExecutorReadyRequest(job_uuid=uuid),
            frames.V0VolumesReadyRequest(job_uuid=uuid),
            frames.V0ExecutionDoneRequest(job_uuid=uuid),
        ]
        for step in steps[:count]:
            await talk.send(step)
        await talk.until(V0JobFinishedReceiptRequest)

    return script


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (0, "initial_response_timed_out"),
        (1, "executor_readiness_response_timed_out"),
        (2, "volumes_timed_out"),
        (3, "execution_timed_out"),
        (4, "final_response_timed_out"),
    ],
)
async def test_miner_that_stalls_is_named_with_the_stage(stage: Stage, steps: int, reason: str) -> None:
    miner = await stage.miner(script=stalls_after(steps))
    await stage.start(miner, leeway_s=0, startup_s=0, max_attempts=1)
    job = await stage.run(**SHORT)
    assert job.state is JobState.HORDE_FAILED
    last = job.history[-1]
    assert isinstance(last, HordeFailed)
    assert (last.origin, last.reason.value) == (Role.VALIDATOR, reason)
    receipts = miner.of(V0JobFinishedReceiptRequest)
    assert [receipt.payload["score_str"] for receipt in receipts] == ["0.000000"]


async def test_streaming_that_does_not_start_has_a_name_of_its_own(stage: Stage) -> None:
    miner = await stage.miner(script=stalls_after(3))
    await stage.start(miner, leeway_s=0, startup_s=0, max_attempts=1)
    job = await stage.run(**SHORT, streaming_start_time_limit=1, streaming_details={"public_key": "PEM"})
    last = job.history[-1]
    assert isinstance(last, HordeFailed)
    assert last.reason.value == "streaming_job_ready_timed_out"


async def test_unused_time_of_one_stage_carries_over_to_the_next(stage: Stage) -> None:
    """Two seconds are granted for download alone; the run may use what the download left."""

    async def slow_run(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await talk.until(frames.V0JobRequest)
        await talk.send(frames.V0VolumesReadyRequest(job_uuid=uuid))
        await talk.listen_for(0.8)
        await talk.send(frames.V0ExecutionDoneRequest(job_uuid=uuid))
        await talk.send(finished(uuid))
        await talk.until(V0JobFinishedReceiptRequest)

    miner = await stage.miner(script=slow_run)
    await stage.start(miner, leeway_s=0)
    job = await stage.run(download_time_limit=3, execution_time_limit=0, upload_time_limit=0)
    assert job.state is JobState.COMPLETED
