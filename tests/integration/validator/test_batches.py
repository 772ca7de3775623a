"""Batches fire at one instant, every job gets an outcome with a reason, and faults land where they belong."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from horde_agents.agents.validator.synthetic.kinds import (
    Finding,
    JobReport,
    KindNotReady,
    Needs,
    SyntheticKind,
    Task,
    load_kind,
)
from horde_agents.agents.validator.synthetic.measured import MeasuredCounts
from horde_agents.agents.validator.synthetic.runner import new_batch_uuid
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol import validator_miner as wire
from horde_agents.receipts.payloads import JobStarted, ReceiptType
from horde_agents.runtime.clock import now
from horde_agents.runtime.settings import SettingsWrong
from horde_agents.scoring.facts import Outcome
from horde_agents.store import batches
from horde_agents.store.batches import Batch, BatchState, Purpose
from horde_agents.store.verdicts import verify_chain
from horde_agents.testing.scripted_miner import Talk
from tests.fixtures.batches import (
    BLOCK_S,
    CLASS,
    CYCLE_BLOCKS,
    SYNTHETIC,
    MovedChain,
    answer,
    digest_of,
    solve,
    synthetic_of,
    working,
)
from tests.fixtures.validator import Stage


async def test_every_executor_of_every_miner_is_tested_and_passes(stage: Stage) -> None:
    one = await stage.miner("one", script=solve, manifest={CLASS: 3})
    other = await stage.miner("other", script=solve, manifest={CLASS: 2})
    validator = await stage.start(one, other, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        jobs = await work.jobs(batch)
        assert batch.state is BatchState.ENDED
        assert sorted(job.outcome for job in jobs) == ["passed"] * 5
        assert batch.details["measured"] == {one.hotkey: {CLASS: 3}, other.hotkey: {CLASS: 2}}
        stored = await work.verdicts(batch)
        assert {row.verdict.work.outcome for row in stored} == {Outcome.PASSED}
        assert all(row.verdict.work.run_us > 0 and not row.verdict.work.is_organic for row in stored)
        async with work.parts.store.reading() as connection:
            assert (await verify_chain(connection)).broken_id is None
        counts = await MeasuredCounts(work.parts.store).counts(batch.cycle)
        assert {(count.miner_hotkey, count.executors) for count in counts} == {
            (one.hotkey, 3),
            (other.hotkey, 2),
        }


async def test_no_payload_is_sent_before_all_executors_are_ready(stage: Stage) -> None:
    order: list[str] = []
    both = asyncio.Event()

    async def slow(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await asyncio.sleep(0.4)
        order.append("ready")
        both.set()
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await answer(talk, uuid, digest_of(await talk.until(frames.V0JobRequest)))

    async def quick(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        request = await talk.until(frames.V0JobRequest)
        order.append("payload")
        await answer(talk, uuid, digest_of(request))

    miners = [await stage.miner("slow", script=slow), await stage.miner("quick", script=quick)]
    validator = await stage.start(*miners, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        assert batch.state is BatchState.ENDED
        assert order == ["ready", "payload"]


async def test_synthetic_receipts_say_so_and_are_finished(stage: Stage) -> None:
    miner = await stage.miner(script=solve)
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        assert (await work.only_job()).outcome == "passed"
    offer = miner.of(frames.V0InitialJobRequest)[0]
    assert offer.job_started_receipt_payload is not None
    assert offer.job_started_receipt_payload["is_organic"] is False
    kinds = {frame.payload["receipt_type"] for frame in miner.of(wire.V0JobFinishedReceiptRequest)}
    assert kinds == {ReceiptType.FINISHED.value}


async def test_routing_sees_synthetic_jobs_as_occupying(stage: Stage) -> None:
    seen: list[int] = []

    async def look(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        assert stage.validator is not None
        seen.append(stage.validator.parts.occupancy.counts(CLASS, now()).get(talk.miner.hotkey, 0))
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await answer(talk, uuid, digest_of(await talk.until(frames.V0JobRequest)))

    miner = await stage.miner(script=look)
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        await work.until_over()
        assert seen == [1]
        assert validator.parts.occupancy.counts(CLASS, now()).get(miner.hotkey, 0) == 0


async def test_a_wrong_answer_fails_with_its_reason(stage: Stage) -> None:
    async def lie(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await talk.until(frames.V0JobRequest)
        await answer(talk, uuid, "made up")

    miner = await stage.miner(script=lie)
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        job = await work.only_job()
        assert (job.outcome, bool(job.why)) == ("failed", True)
        [batch] = await work.batches()
        assert batch.details["measured"] == {miner.hotkey: {CLASS: 0}}


async def test_a_decline_without_excuse_is_rejected_badly(stage: Stage) -> None:
    async def decline(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        await talk.send(
            wire.V0DeclineJobRequest.model_validate({"job_uuid": offer.job_uuid, "reason": "busy"})
        )
        await talk.listen_for(1)

    miner = await stage.miner(script=decline)
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        assert (await work.only_job()).outcome == "rejected_badly"


async def test_an_own_running_job_is_not_asked_and_counts_as_there(stage: Stage) -> None:
    miner = await stage.miner(script=solve, manifest={CLASS: 2})
    validator = await stage.start(miner, **SYNTHETIC)
    validator.parts.occupancy.note(_own_job(validator.parts.signer.hotkey, miner.hotkey))
    async with working(validator.parts) as work:
        assert (await work.only_job()).outcome == "passed"
        [batch] = await work.batches()
        assert batch.details["measured"] == {miner.hotkey: {CLASS: 2}}


async def test_an_own_job_that_began_meanwhile_explains_one_decline(stage: Stage) -> None:
    async def decline(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        assert stage.validator is not None
        parts = stage.validator.parts
        parts.occupancy.note(_own_job(parts.signer.hotkey, talk.miner.hotkey))
        await talk.send(
            wire.V0DeclineJobRequest.model_validate({"job_uuid": offer.job_uuid, "reason": "busy"})
        )
        await talk.listen_for(1)

    miner = await stage.miner(script=decline, manifest={CLASS: 2})
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        outcomes = sorted(job.outcome for job in await work.jobs(batch))
        assert outcomes == ["not_run", "rejected_badly"]
        assert batch.details["measured"] == {miner.hotkey: {CLASS: 1}}


async def test_a_validator_without_permit_sends_no_batch_and_says_so(stage: Stage) -> None:
    miner = await stage.miner(script=solve)
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts, MovedChain({"another": 10**12})) as work:
        for _ in range(16):
            await work.move()
        assert await work.batches() == []
        assert "no seat for this validator" in work.synthetic.trouble
    assert miner.of(frames.V0InitialJobRequest) == []


async def test_single_challenges_test_one_executor_and_measure_nothing(stage: Stage) -> None:
    miner = await stage.miner(script=solve, manifest={CLASS: 4})
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts, knobs={"single_challenges_per_cycle": 1}) as work:
        over = await work.until_over(2)
        by_purpose = {batch.purpose: len(await work.jobs(batch)) for batch in over}
        assert by_purpose == {Purpose.BATCH: 4, Purpose.CHALLENGE: 1}
        counts = await MeasuredCounts(work.parts.store).counts(over[0].cycle)
        assert {count.batch_uuid for count in counts} == {
            batch.uuid for batch in over if batch.purpose is Purpose.BATCH
        }
        first, second = sorted(over, key=lambda batch: batch.fired_at or batch.planned_at)
        assert first.ended_at is not None
        assert second.fired_at is not None
        assert first.ended_at <= second.fired_at


async def test_synthetic_work_keeps_to_its_share_of_slots(stage: Stage) -> None:
    small = await stage.miner("small", script=solve, manifest={CLASS: 1})
    large = await stage.miner("large", script=solve, manifest={CLASS: 8})
    validator = await stage.start(small, large, **SYNTHETIC)
    # 144 s of a cycle for a job of 18 s: six tenths of all executors would keep to it, so half are asked
    async with working(validator.parts, knobs={"synthetic_share": "0.075"}) as work:
        [batch] = await work.until_over()
        asked = [job.miner_hotkey for job in await work.jobs(batch)]
        assert {hotkey: asked.count(hotkey) for hotkey in set(asked)} == {small.hotkey: 1, large.hotkey: 4}
        assert batch.details["share"] == "1/2"
        assert batch.details["measured"] == {small.hotkey: {CLASS: 1}, large.hotkey: {CLASS: 4}}


async def test_a_miner_that_left_the_metagraph_meanwhile_is_not_asked(stage: Stage) -> None:
    stays = await stage.miner("stays", script=solve)

    async def leave(talk: Talk) -> None:
        assert stage.validator is not None
        directory = stage.validator.parts.directory
        directory.replace([m for m in directory.miners() if m.hotkey == stays.hotkey], {})
        await solve(talk)

    leaves = await stage.known_miner(leave, name="leaves")
    validator = await stage.start(stays, leaves, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        assert {job.miner_hotkey for job in await work.jobs(batch)} == {stays.hotkey}


async def test_a_uid_registered_to_another_is_judged_under_the_hotkey_that_was_asked(stage: Stage) -> None:
    async def replaced(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        assert stage.validator is not None
        stage.validator.parts.directory.replace([], {})
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await answer(talk, uuid, digest_of(await talk.until(frames.V0JobRequest)))

    miner = await stage.miner(script=replaced)
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        job = await work.only_job()
        assert (job.miner_hotkey, job.outcome) == (miner.hotkey, "passed")


async def test_a_kind_that_has_no_tasks_now_blames_nobody(stage: Stage) -> None:
    miner = await stage.miner(script=solve)
    validator = await stage.start(miner, **SYNTHETIC | {"synthetic_image": ""})
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        assert batch.state is BatchState.NOT_RUN
        assert "synthetic_image" in batch.details["why"]
        assert await work.verdicts(batch) == []


class _Odd:
    """A kind whose parts do as told; it makes the tasks of ``digest``."""

    name = "odd"

    def __init__(self, inner: SyntheticKind, judge: Finding | Exception | None = None) -> None:
        self.inner, self.found, self.cleaned = inner, judge, list[str]()

    def needs(self, executor_classes: Collection[str]) -> Needs:
        return Needs()

    async def prepare(
        self, executor_classes: Mapping[str, int], batch_uuid: str
    ) -> Mapping[str, Sequence[Task]]:
        if self.found is None:
            raise RuntimeError("broken")
        return await self.inner.prepare(executor_classes, batch_uuid)

    async def judge(self, task: Task, report: JobReport) -> Finding:
        if isinstance(self.found, Finding):
            return self.found
        assert self.found is not None
        raise self.found

    async def clean(self, batch_uuid: str) -> None:
        self.cleaned.append(batch_uuid)
        raise KindNotReady("the store is away")


async def _judged(stage: Stage, judge: Finding | Exception | None) -> tuple[Any, _Odd]:
    miner = await stage.miner(script=solve)
    validator = await stage.start(miner, **SYNTHETIC)
    kind = _Odd(load_kind("digest", validator.parts), judge)
    async with working(validator.parts, kinds={CLASS: kind}) as work:
        [batch] = await work.until_over()
        return next(iter(await work.jobs(batch)), batch), kind


async def test_a_kind_that_breaks_over_an_answer_fails_nobody(stage: Stage) -> None:
    job, kind = await _judged(stage, RuntimeError("broken"))
    assert job.outcome == "not_run"
    assert "could not be judged" in job.why
    assert kind.cleaned == [job.batch_uuid]


async def test_an_external_fault_that_a_kind_finds_is_not_run(stage: Stage) -> None:
    job, _ = await _judged(stage, Finding(Outcome.NOT_RUN, "the answers' store is away"))
    assert (job.outcome, job.why) == ("not_run", "the answers' store is away")


async def test_a_kind_cannot_excuse(stage: Stage) -> None:
    job, _ = await _judged(stage, Finding(Outcome.EXCUSED, "as a favour"))
    assert job.outcome == "not_run"


async def test_a_kind_that_breaks_over_tasks_ends_no_loop(stage: Stage) -> None:
    batch, _ = await _judged(stage, None)
    assert batch.state is BatchState.NOT_RUN
    assert "broke down" in batch.details["why"]


async def test_why_there_is_no_batch_is_told_until_one_is_made(stage: Stage) -> None:
    miner = await stage.miner(script=solve)
    parts = (await stage.start(miner, **SYNTHETIC)).parts
    kind = _Odd(load_kind("digest", parts))
    async with working(parts, None, {"single_challenges_per_cycle": 1}, {CLASS: kind}) as work:
        [broken] = await work.until_over()
        assert (broken.state, broken.details["why"] in work.synthetic.trouble) == (BatchState.NOT_RUN, True)
        kind.found = Finding(Outcome.PASSED, "")
        assert {batch.state for batch in await work.until_over(2)} == {BatchState.NOT_RUN, BatchState.ENDED}
        assert work.synthetic.trouble == ""


def _own_job(validator_hotkey: str, miner_hotkey: str) -> JobStarted:
    return JobStarted(
        job_uuid="00000000-0000-4000-8000-000000000001",
        miner_hotkey=miner_hotkey,
        validator_hotkey=validator_hotkey,
        timestamp=now(),
        executor_class=CLASS,
        is_organic=True,
        ttl=600,
    )


async def test_a_batch_keeps_what_was_proven_apart_from_what_was_excused(stage: Stage) -> None:
    miner = await stage.miner(script=solve, manifest={CLASS: 2})
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        assert batch.details["proven"] == batch.details["measured"] == {miner.hotkey: {CLASS: 2}}
    async with validator.parts.store.reading() as connection:
        assert [known.uuid for known in await batches.last_measured(connection, 12)] == [batch.uuid]
        assert await batches.last_measured(connection, 0) == []


class _Slow:
    """A kind that needs some blocks for its tasks; it makes those of ``digest``."""

    name = "slow"

    def __init__(self, inner: SyntheticKind, block: Callable[[], int | None]) -> None:
        self.inner, self.block, self.began_at = inner, block, 0

    def needs(self, executor_classes: Collection[str]) -> Needs:
        return Needs(prepare_s=4 * BLOCK_S)

    async def prepare(
        self, executor_classes: Mapping[str, int], batch_uuid: str
    ) -> Mapping[str, Sequence[Task]]:
        self.began_at = self.block() or 0
        return await self.inner.prepare(executor_classes, batch_uuid)

    async def judge(self, task: Task, report: JobReport) -> Finding:
        return Finding(Outcome.PASSED, "")

    async def clean(self, batch_uuid: str) -> None:
        """Nothing is left outside."""


async def test_tasks_are_made_as_early_as_their_kind_needs(stage: Stage) -> None:
    miner = await stage.miner(script=solve)
    validator = await stage.start(miner, **SYNTHETIC | {"synthetic_prepare_s": 3 * BLOCK_S})
    async with working(validator.parts) as work:
        slow = _Slow(load_kind("digest", validator.parts), work.synthetic.clock.block)
        work.synthetic.kinds = {CLASS: slow}
        [batch] = await work.until_over()
        assert batch.state is BatchState.ENDED
        assert batch.fire_block - slow.began_at >= 4


async def test_a_batch_with_too_little_time_left_for_its_tasks_is_not_run(stage: Stage) -> None:
    parts = (await stage.start(await stage.miner(script=solve), **SYNTHETIC)).parts
    planned = Batch(new_batch_uuid(), 1, Purpose.BATCH, 14, now())
    await parts.store.writer.run(lambda connection: batches.plan(connection, [planned]))
    slow = _Slow(load_kind("digest", parts), lambda: 0)
    chain = MovedChain({parts.signer.hotkey: 10**12}, number=14)
    async with working(parts, chain, kinds={CLASS: slow}) as work:
        [batch, *_] = await work.until_over()
        assert (batch.uuid, batch.state) == (planned.uuid, BatchState.NOT_RUN)
        assert "when its tasks were to be made" in batch.details["why"]


async def test_a_batch_that_fits_into_no_seat_names_the_settings(stage: Stage) -> None:
    validator = await stage.start(**SYNTHETIC | {"synthetic_running_s": 15 * BLOCK_S})
    async with working(validator.parts) as work:
        for _ in range(5):
            await work.move()
        assert await work.batches() == []
        assert "its seat has" in work.synthetic.trouble
        assert "synthetic_running_s (180 s)" in work.synthetic.trouble


async def test_settings_under_which_a_batch_outlasts_a_cycle_are_refused(stage: Stage) -> None:
    settings = {"cycle_blocks": CYCLE_BLOCKS, "prompts_running_s": 60}
    parts = (await stage.start(**SYNTHETIC | settings)).parts
    synthetic = synthetic_of(parts, MovedChain({}), kinds={CLASS: load_kind("llm_prompts", parts)})
    with pytest.raises(SettingsWrong, match=r"cycle_blocks is 12, .*prompts_running_s \(60 s.*_prepare_s"):
        synthetic.check()
