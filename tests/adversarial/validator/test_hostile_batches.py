"""Miners that cheat in a batch: late, with another's answer, with two answers, silent, slow, boastful."""

import asyncio
import json
from collections.abc import Iterable

import pytest

from horde_agents.agents.validator.synthetic.excusing import Excusing
from horde_agents.jobs.faults import RejectionReason
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol import validator_miner as wire
from horde_agents.receipts.payloads import JobStarted
from horde_agents.store.batches import BatchJob, BatchState
from horde_agents.testing.scripted_miner import Script, Talk, finished
from tests.fixtures.batches import CLASS, SYNTHETIC, answer, digest_of, solve, working
from tests.fixtures.validator import Stage


async def _verdict(stage: Stage, script: Script, manifest: dict[str, int] | None = None) -> list[BatchJob]:
    """The jobs of a batch at one miner, all judged with a reason."""
    miner = await stage.miner(script=script, manifest=manifest or {CLASS: 1})
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        jobs = await work.jobs(batch)
        assert batch.state is BatchState.ENDED
        assert all(job.outcome == "passed" or job.why for job in jobs)
        assert len(await work.verdicts(batch)) == len(jobs)
        return jobs


async def _ready(talk: Talk) -> tuple[str, frames.V0JobRequest]:
    await talk.greet()
    uuid = await talk.accept()
    await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
    return uuid, await talk.until(frames.V0JobRequest)


async def test_an_answer_after_the_deadline_fails(stage: Stage) -> None:
    async def late(talk: Talk) -> None:
        uuid, request = await _ready(talk)
        await talk.send(frames.V0VolumesReadyRequest(job_uuid=uuid))
        await asyncio.sleep(4.5)
        await answer(talk, uuid, digest_of(request))

    [job] = await _verdict(stage, late)
    assert job.outcome == "failed"


async def test_anothers_answer_fails(stage: Stage) -> None:
    requests: list[frames.V0JobRequest] = []

    async def swapped(talk: Talk) -> None:
        uuid, request = await _ready(talk)
        requests.append(request)
        while len(requests) < 2:
            await asyncio.sleep(0.01)
        other = next(each for each in requests if each.job_uuid != uuid)
        await answer(talk, uuid, digest_of(other))

    jobs = await _verdict(stage, swapped, {CLASS: 2})
    assert [job.outcome for job in jobs] == ["failed", "failed"]


async def test_an_answer_under_anothers_uuid_is_no_answer(stage: Stage) -> None:
    async def renamed(talk: Talk) -> None:
        _, request = await _ready(talk)
        await talk.send(finished("00000000-0000-4000-8000-000000000009", digest_of(request)))
        await talk.listen_for(10)

    [job] = await _verdict(stage, renamed)
    assert job.outcome == "failed"


@pytest.mark.parametrize("right_first", [True, False])
async def test_of_two_answers_the_first_counts(stage: Stage, right_first: bool) -> None:
    async def twice(talk: Talk) -> None:
        uuid, request = await _ready(talk)
        right = digest_of(request)
        await talk.send(frames.V0VolumesReadyRequest(job_uuid=uuid))
        await talk.send(frames.V0ExecutionDoneRequest(job_uuid=uuid))
        for stdout in (right, "wrong") if right_first else ("wrong", right):
            await talk.send(finished(uuid, stdout))
        await talk.listen_for(1)

    [job] = await _verdict(stage, twice)
    assert job.outcome == ("passed" if right_first else "failed")


async def test_an_answer_before_the_payload_fails(stage: Stage) -> None:
    async def hasty(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await talk.send(frames.V0VolumesReadyRequest(job_uuid=uuid))
        await talk.send(frames.V0ExecutionDoneRequest(job_uuid=uuid))
        await talk.send(finished(uuid, "a guess"))
        await talk.listen_for(1)

    slow = await stage.miner("slow", script=_after(0.5))
    hasty_miner = await stage.miner("hasty", script=hasty)
    validator = await stage.start(slow, hasty_miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        jobs = {job.miner_hotkey: job for job in await work.jobs(batch)}
        assert jobs[slow.hotkey].outcome == "passed"
        assert jobs[hasty_miner.hotkey].outcome == "failed"
        assert "before" in jobs[hasty_miner.hotkey].why


async def test_a_miner_that_is_never_ready_fails_and_holds_up_no_other(stage: Stage) -> None:
    async def never(talk: Talk) -> None:
        await talk.greet()
        await talk.accept()
        await talk.listen_for(20)

    honest = await stage.miner("honest", script=solve)
    hostile = await stage.miner("hostile", script=never)
    validator = await stage.start(honest, hostile, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        jobs = {job.miner_hotkey: job for job in await work.jobs(batch)}
        assert jobs[honest.hotkey].outcome == "passed"
        assert jobs[hostile.hotkey].outcome == "failed"
        assert batch.details["measured"] == {honest.hotkey: {CLASS: 1}, hostile.hotkey: {CLASS: 0}}


async def test_a_miner_that_answers_no_offer_fails(stage: Stage) -> None:
    async def silent(talk: Talk) -> None:
        await talk.greet()
        await talk.listen_for(20)

    [job] = await _verdict(stage, silent)
    assert job.outcome == "failed"
    assert "initial_response_timed_out" in job.why


async def test_a_slow_drip_of_garbage_gains_no_time(stage: Stage) -> None:
    async def drip(talk: Talk) -> None:
        uuid, _ = await _ready(talk)
        for _ in range(200):
            await talk.send(frames.V0MachineSpecsRequest(job_uuid=uuid, specs={}))
            await asyncio.sleep(0.05)

    [job] = await _verdict(stage, drip)
    assert job.outcome == "failed"


async def test_a_miner_that_leaves_in_the_middle_fails_alone(stage: Stage) -> None:
    async def leave(talk: Talk) -> None:
        await _ready(talk)

    honest = await stage.miner("honest", script=solve)
    hostile = await stage.miner("hostile", script=leave)
    validator = await stage.start(honest, hostile, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        jobs = {job.miner_hotkey: job.outcome for job in await work.jobs(batch)}
        assert jobs == {honest.hotkey: "passed", hostile.hotkey: "failed"}


async def test_a_claim_of_more_executors_than_there_are_earns_nothing(stage: Stage) -> None:
    taken: list[str] = []

    async def boast(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        if taken:
            decline = {"job_uuid": offer.job_uuid, "reason": "busy"}
            await talk.send(wire.V0DeclineJobRequest.model_validate(decline))
            await talk.listen_for(1)
            return
        taken.append(offer.job_uuid)
        await talk.send(wire.V0AcceptJobRequest(job_uuid=offer.job_uuid))
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=offer.job_uuid))
        await answer(talk, offer.job_uuid, digest_of(await talk.until(frames.V0JobRequest)))

    miner = await stage.miner(script=boast, manifest={CLASS: 6})
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        outcomes = sorted(job.outcome for job in await work.jobs(batch))
        assert outcomes == ["passed", *["rejected_badly"] * 5]
        assert batch.details["measured"] == {miner.hotkey: {CLASS: 1}}


@pytest.mark.parametrize("count", [-3, 0])
async def test_a_manifest_without_a_real_number_is_asked_for_nothing(stage: Stage, count: int) -> None:
    miner = await stage.miner("odd", script=solve, manifest={CLASS: count, "no such class": 7})
    honest = await stage.miner("honest", script=solve)
    validator = await stage.start(miner, honest, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        assert {job.miner_hotkey for job in await work.jobs(batch)} == {honest.hotkey}


async def test_a_huge_manifest_is_bounded(stage: Stage) -> None:
    async def decline(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        await talk.send(wire.V0DeclineJobRequest(job_uuid=offer.job_uuid))
        await talk.listen_for(1)

    miner = await stage.miner(script=decline, manifest={CLASS: 10**9})
    validator = await stage.start(miner, **SYNTHETIC, synthetic_most_jobs=8)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        assert len(await work.jobs(batch)) <= 8


async def test_unreadable_manifests_end_no_batch(stage: Stage) -> None:
    async def garbage(talk: Talk) -> None:
        await talk.send(
            json.dumps({"message_type": "V0ExecutorManifestRequest", "manifest": {CLASS: "many"}})
        )
        await talk.listen_for(5)

    hostile = await stage.miner("hostile", script=garbage)
    honest = await stage.miner("honest", script=solve)
    validator = await stage.start(hostile, honest, **SYNTHETIC, manifest_timeout_s=0.5)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        assert [job.outcome for job in await work.jobs(batch)] == ["passed"]
        assert (batch.details["eligible_miners"], batch.details["challenged_miners"]) == (2, 1)


def _after(pause_s: float) -> Script:
    async def script(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await asyncio.sleep(pause_s)
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await answer(talk, uuid, digest_of(await talk.until(frames.V0JobRequest)))

    return script


async def test_declines_that_show_many_receipts_do_not_hold_up_the_loop(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs signature checks; between two of them everything else has its turn."""
    rubbish = {"validator_signature": "0x" + "00" * 64, "miner_signature": "0x" + "00" * 64}
    turns, judged_at = 0, list[int]()
    judge = Excusing.excuse

    async def noted(self: Excusing, offer: JobStarted, shown: Iterable[wire.SignedReceipt]) -> str:
        judged_at.append(turns)
        return await judge(self, offer, shown)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.0)

    async def declines(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        payload = offer.job_started_receipt_payload or {}
        shown = [wire.SignedReceipt(payload=payload, **rubbish)] * 20
        await talk.send(
            wire.V0DeclineJobRequest(job_uuid=offer.job_uuid, reason=RejectionReason.BUSY, receipts=shown)
        )
        await talk.until(wire.V0JobFinishedReceiptRequest)

    monkeypatch.setattr(Excusing, "excuse", noted)
    counting = asyncio.create_task(count_turns())
    try:
        jobs = await _verdict(stage, declines, {CLASS: 3})
    finally:
        counting.cancel()
    assert {job.outcome for job in jobs} == {"rejected_badly"}
    assert len(judged_at) == len(set(judged_at)) == 3
