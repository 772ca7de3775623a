"""Jobs that name several classes, wait for capacity, or hear when there will be some."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.jobs.faults import RejectionReason
from horde_agents.jobs.states import JobState
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.validator_miner import (
    V0AcceptJobRequest,
    V0DeclineJobRequest,
    V0JobFinishedReceiptRequest,
)
from horde_agents.runtime.clock import now
from horde_agents.store import stories
from horde_agents.testing.scripted_miner import ScriptedMiner, Talk, finish
from horde_agents.testing.signed_jobs import job_frame, whole_job_frame
from tests.fixtures.validator import Stage
from tests.fixtures.waiting import eventually

LARGE = "always_on.gpu.h100"
SMALL = "always_on.gpu.a100-40gb"


async def runs_when_told(talk: Talk) -> None:
    """Takes what is offered and ends it when the test lets one job go."""
    await talk.greet()
    uuid = await talk.accept()
    talk.miner.memory.setdefault("running", []).append(uuid)
    await eventually(lambda: _may_go(talk.miner))
    await finish(talk, uuid)


async def _may_go(miner: ScriptedMiner) -> bool:
    if miner.memory.get("go", 0) > 0:
        miner.memory["go"] -= 1
        return True
    return False


def let_go(miner: ScriptedMiner, jobs: int = 1) -> None:
    miner.memory["go"] = miner.memory.get("go", 0) + jobs


async def submit(stage: Stage, wait_s: int = 30, **changes: Any) -> str:
    frame = whole_job_frame(stage.signer, wait_s=wait_s, **changes)
    await stage.facilitator.send(frame)
    return str(frame["uuid"])


async def until_accepted(stage: Stage, uuid: str) -> None:
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))


async def until_waiting(stage: Stage, jobs: int) -> None:
    async def are() -> bool:
        return stage.validator is not None and len(stage.validator.parts.waiting) == jobs

    await eventually(are)


async def occupied(stage: Stage) -> tuple[ScriptedMiner, str]:
    """A miner of one executor, and the job that has it."""
    miner = await stage.known_miner(runs_when_told)
    await stage.start(miner, waiting_retry_s=0.2)
    uuid = await stage.submit()
    await until_accepted(stage, uuid)
    return miner, uuid


def rejection(stage: Stage) -> dict[str, Any]:
    details: dict[str, Any] = (stage.facilitator.updates[-1].metadata or {})["job_rejection_details"]
    return details


async def test_a_job_without_capacity_ends_with_a_reason_and_an_estimate(stage: Stage) -> None:
    _, first = await occupied(stage)
    job = await stage.run()
    assert job.state is JobState.REJECTED
    context = rejection(stage)["context"]
    assert context["estimate_s"] > 0
    (attempt,) = await stage.attempts(first)
    free_at = datetime.fromisoformat(context["earliest_free_at"])
    assert now() < free_at
    # ready within spin-up and start-up, then the limits of the accepted job
    assert (free_at - attempt.created_at).total_seconds() < 3 + 10 + 25 + 10


async def test_waiting_jobs_run_in_the_order_in_which_they_came(stage: Stage) -> None:
    miner, first = await occupied(stage)
    waiting = []
    for n in range(3):
        waiting.append(await submit(stage))
        await until_waiting(stage, n + 1)
    let_go(miner, 4)
    ended = [await stage.facilitator.until_final(uuid) for uuid in (first, *waiting)]
    assert {job.state for job in ended} == {JobState.COMPLETED}
    attempts = [(await stage.attempts(uuid))[-1] for uuid in waiting]
    assert [attempt.uuid for attempt in attempts] == miner.memory["running"][1:]


async def test_a_job_whose_time_to_wait_is_over_is_rejected_with_an_estimate(stage: Stage) -> None:
    miner, _ = await occupied(stage)
    job = await stage.facilitator.until_final(await submit(stage, wait_s=1))
    assert job.state is JobState.REJECTED
    assert "estimate_s" in rejection(stage)["context"]
    assert len(miner.memory["running"]) == 1


async def test_a_waiting_job_survives_a_restart_and_keeps_its_place(stage: Stage) -> None:
    miner, first = await occupied(stage)
    one = await submit(stage)
    await until_waiting(stage, 1)
    two = await submit(stage)
    await until_waiting(stage, 2)
    assert stage.validator is not None
    assert stage.validator.parts.metrics.waiting_jobs._value.get() == 2
    await stage.restart()
    await until_waiting(stage, 2)
    let_go(miner, 9)
    for uuid in (one, two):
        assert (await stage.facilitator.until_final(uuid)).state is JobState.COMPLETED
    order = list(miner.memory["running"])
    places = [order.index((await stage.attempts(uuid))[-1].uuid) for uuid in (one, two)]
    assert places == sorted(places)
    assert (await stage.facilitator.until_final(first)).state.is_final


async def test_a_waiting_job_does_not_take_the_executor_of_one_that_is_slow_to_go_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = await occupied(stage)
    second = await submit(stage)
    await until_waiting(stage, 1)
    (running,) = await stage.attempts(first)
    may_go_on, read = asyncio.Event(), stories.told

    async def told_late(connection: AsyncConnection, subject_uuid: str) -> list[stories.Told]:
        if subject_uuid == running.uuid:
            await may_go_on.wait()
        return await read(connection, subject_uuid)

    monkeypatch.setattr(stories, "told", told_late)
    await stage.restart()
    await until_waiting(stage, 1)
    assert await stage.attempts(second) == []
    may_go_on.set()


async def test_a_waiting_job_keeps_nobody_from_stopping_and_waits_on_after_the_start(stage: Stage) -> None:
    await stage.start(await stage.miner(manifest={SMALL: 1}), drain_s=250.0)
    uuid = await submit(stage, wait_s=300)
    await until_waiting(stage, 1)
    await stage.stop()  # a test's own limit is what fails when it takes the drain time
    assert "rejected" not in stage.facilitator.states(uuid)
    await stage.restart(drain_s=0.0)
    await until_waiting(stage, 1)


async def test_a_waiting_job_can_be_taken_back(stage: Stage) -> None:
    _, _ = await occupied(stage)
    uuid = await submit(stage)
    await until_waiting(stage, 1)
    await stage.facilitator.send({"message_type": "HordeCancelJob", "uuid": uuid})
    assert (await stage.facilitator.until_final(uuid)).state is JobState.FAILED
    await until_waiting(stage, 0)
    assert await stage.attempts(uuid) == []


async def test_a_waiting_job_tries_a_miner_again_that_was_busy(stage: Stage) -> None:
    async def busy_twice(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        if len(talk.miner.of(frames.V0InitialJobRequest)) < 3:
            await talk.send(V0DeclineJobRequest(job_uuid=offer.job_uuid, reason=RejectionReason.BUSY))
            await talk.until(V0JobFinishedReceiptRequest)
            return
        await talk.send(V0AcceptJobRequest(job_uuid=offer.job_uuid))
        await finish(talk, offer.job_uuid)

    miner = await stage.known_miner(busy_twice)
    await stage.start(miner, waiting_retry_s=0.1, retry_window_s=0.0)
    uuid = await submit(stage)
    assert (await stage.facilitator.until_final(uuid)).state is JobState.COMPLETED
    assert len(await stage.attempts(uuid)) == 3


async def test_after_a_restart_a_waiting_job_tries_a_miner_again_that_was_busy(stage: Stage) -> None:
    async def busy_once(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        if len(talk.miner.of(frames.V0InitialJobRequest)) == 1:
            await talk.send(V0DeclineJobRequest(job_uuid=offer.job_uuid, reason=RejectionReason.BUSY))
            await talk.until(V0JobFinishedReceiptRequest)
            return
        await talk.send(V0AcceptJobRequest(job_uuid=offer.job_uuid))
        await finish(talk, offer.job_uuid)

    miner = await stage.known_miner(busy_once)
    await stage.start(miner, waiting_retry_s=3600.0)
    uuid = await submit(stage)
    await miner.until(lambda: bool(miner.of(V0JobFinishedReceiptRequest)))
    await until_waiting(stage, 1)
    await stage.restart()
    assert (await stage.facilitator.until_final(uuid)).state is JobState.COMPLETED


async def test_more_jobs_than_may_wait_are_rejected_with_the_limit(stage: Stage) -> None:
    await occupied(stage)
    await stage.restart(most_waiting_jobs_of_user=1)
    await submit(stage)
    await until_waiting(stage, 1)
    job = await stage.facilitator.until_final(await submit(stage))
    assert job.state is JobState.REJECTED
    assert "1 jobs of this user wait already" in rejection(stage)["message"]


async def test_a_job_that_would_wait_too_long_is_rejected(stage: Stage) -> None:
    await stage.start(await stage.miner(), longest_wait_s=5)
    assert (await stage.facilitator.until_final(await submit(stage, wait_s=6))).state is JobState.REJECTED
    assert "the most here is 5 s" in rejection(stage)["message"]


async def test_the_cheapest_class_that_is_free_gets_the_job_and_the_others_the_next(stage: Stage) -> None:
    miner = await stage.known_miner(runs_when_told, {LARGE: 1, SMALL: 1})
    await stage.start(miner)
    taken = []
    for _ in range(2):
        uuid = await submit(stage, executor_class=LARGE, executor_classes=[LARGE, SMALL])
        await until_accepted(stage, uuid)
        taken += [attempt.executor_class for attempt in await stage.attempts(uuid)]
    assert taken == [SMALL, LARGE]
    assert [offer.executor_class for offer in miner.of(frames.V0InitialJobRequest)] == [SMALL, LARGE]
    let_go(miner, 2)


async def test_a_class_stands_in_for_another_where_the_operator_says_so(stage: Stage) -> None:
    miner = await stage.miner(manifest={SMALL: 1})
    await stage.start(miner, class_substitutes={"always_on.gpu-24gb": (SMALL,)})
    job = await stage.run(executor_class="always_on.gpu-24gb")
    assert job.state is JobState.COMPLETED
    assert miner.of(frames.V0InitialJobRequest)[0].executor_class == SMALL


@pytest.mark.parametrize("added", [{"horde_wait_s": 9}, {"horde_executor_classes": [LARGE]}])
async def test_what_no_user_signed_is_refused(stage: Stage, added: dict[str, Any]) -> None:
    await stage.start(await stage.miner())
    frame = {**job_frame(stage.signer), **added}
    await stage.facilitator.send(frame)
    assert (await stage.facilitator.until_final(frame["uuid"])).state is JobState.REJECTED
    assert "signed by the user" in rejection(stage)["message"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wait_s": 9}, "signature"),
        ({"executor_classes": [LARGE, "always_on.test"]}, "signature"),
        ({"docker_image": "other"}, "signature"),
    ],
)
async def test_a_body_changed_on_its_way_is_refused(stage: Stage, change: dict[str, Any], why: str) -> None:
    await stage.start(await stage.miner())
    frame = whole_job_frame(stage.signer, wait_s=5)
    frame["body"] |= change
    await stage.facilitator.send(frame)
    assert (await stage.facilitator.until_final(frame["uuid"])).state is JobState.REJECTED
    assert why in rejection(stage)["message"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wait_s": -1}, "wait_s"),
        ({"wait_s": "long"}, "wait_s"),
        ({"wait_s": 10**9}, "wait_s"),
        ({"executor_classes": ["quantum"]}, "quantum"),
        ({"executor_classes": [LARGE]}, "is not in executor_classes"),
        ({"executor_classes": ["always_on.test"] * 2}, "twice"),
        ({"executor_classes": ["always_on.test"] * 99}, "executor_classes"),
        ({"on_trusted_miner": True, "wait_s": 3}, "on_trusted_miner"),
        ({"docker_image": ""}, "docker_image"),
    ],
)
async def test_wrong_terms_are_refused_by_name(stage: Stage, change: dict[str, Any], why: str) -> None:
    await stage.start(await stage.miner())
    frame = whole_job_frame(stage.signer, **change)
    await stage.facilitator.send(frame)
    assert (await stage.facilitator.until_final(frame["uuid"])).state is JobState.REJECTED
    assert why in rejection(stage)["message"]
