"""Long jobs leave signed progress receipts, and are paid for what these prove when the horde ends them."""

import json
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select

from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.frames import render
from horde_agents.protocol.signing import from_hex, verify
from horde_agents.protocol.validator_miner import (
    HordeProgress,
    HordeProgressReceipt,
    V0JobFinishedReceiptRequest,
)
from horde_agents.receipts.payloads import JobProgress, read_progress, signed_text
from horde_agents.scoring.facts import Outcome
from horde_agents.store.tables import progress_receipts, receipts, verdicts
from horde_agents.testing.scripted_miner import STOCK, Script, ScriptedMiner, Talk, finish, finished
from tests.fixtures.validator import Stage
from tests.fixtures.waiting import eventually

HOUR_US = 3_600_000_000


def receipts_of(miner: ScriptedMiner) -> list[JobProgress]:
    return [read_progress(frame.payload) for frame in miner.of(HordeProgressReceipt)]


async def begin(talk: Talk) -> str:
    """Up to a running job."""
    await talk.greet()
    uuid = await talk.accept()
    await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
    await talk.until(frames.V0JobRequest)
    await talk.send(frames.V0VolumesReadyRequest(job_uuid=uuid))
    return uuid


def claims(*run_us: int, ending: BaseModel | None = None) -> Script:
    """A miner that says, one after the other, for how long its job runs; then it ends."""

    async def script(talk: Talk) -> None:
        uuid = await begin(talk)
        for claim in run_us:
            await talk.send(HordeProgress(job_uuid=uuid, run_us=claim))
            await talk.until(HordeProgressReceipt)
        if ending is not None:
            await talk.send(ending.model_copy(update={"job_uuid": uuid}))
        else:
            await talk.send(frames.V0ExecutionDoneRequest(job_uuid=uuid))
            await talk.send(finished(uuid))
        await talk.until(V0JobFinishedReceiptRequest)

    return script


async def start(stage: Stage, script: Script, **how: Any) -> ScriptedMiner:
    """A validator that signs progress at every heartbeat."""
    miner = await stage.miner(script=script, **how)
    validator = await stage.start(miner, max_attempts=1)
    validator.parts.progress_interval_s = lambda: 0.0
    return miner


async def rows(stage: Stage, table: Any) -> list[Any]:
    assert stage.validator is not None
    async with stage.validator.parts.store.reading() as connection:
        return list(await connection.execute(select(table).order_by(table.c.id)))


async def test_a_running_job_leaves_signed_progress_receipts_that_are_kept_and_acknowledged(
    stage: Stage,
) -> None:
    miner = await start(stage, claims(0, 0, 0))
    assert (await stage.run()).state is JobState.COMPLETED
    await stage.until_idle()
    signed = miner.of(HordeProgressReceipt)
    assert [read_progress(frame.payload).sequence for frame in signed] == [1, 2, 3]
    for frame in signed:
        text = signed_text(read_progress(frame.payload))
        assert verify(stage.signer.hotkey, text, from_hex(frame.signature))
    stored = await rows(stage, progress_receipts)
    assert [row.sequence for row in stored] == [1, 2, 3]
    assert all(row.acknowledged_at is not None for row in stored)


async def test_a_miners_claim_never_exceeds_the_validators_own_clock(stage: Stage) -> None:
    miner = await start(stage, claims(HOUR_US))
    await stage.run()
    await stage.until_idle()
    (claimed,) = receipts_of(miner)
    (row,) = await rows(stage, verdicts)
    assert 0 < claimed.run_us <= row.run_us < HOUR_US


async def test_what_was_proven_is_not_taken_back_by_a_smaller_claim(stage: Stage) -> None:
    miner = await start(stage, claims(HOUR_US, 0))
    await stage.run()
    first, second = receipts_of(miner)
    assert second.run_us == first.run_us > 0


async def test_a_job_that_the_horde_ends_is_paid_for_what_was_proven(stage: Stage) -> None:
    fault = frames.V0HordeFailedRequest(
        job_uuid="", reported_by=Role.EXECUTOR, reason=HordeFaultReason.GENERIC_ERROR
    )
    miner = await start(stage, claims(HOUR_US, ending=fault))
    assert (await stage.run()).state is JobState.HORDE_FAILED
    await stage.until_idle()
    (proof,) = receipts_of(miner)
    (row,) = await rows(stage, verdicts)
    assert (row.outcome, row.run_us) == (Outcome.HORDE_ENDED, proof.run_us)
    payload = miner.of(V0JobFinishedReceiptRequest)[0].payload
    assert payload["score_str"] == f"{proof.run_us // 1_000_000}.000000"


async def test_a_finished_receipt_says_when_the_job_was_sent_and_how_long_it_ran(stage: Stage) -> None:
    await start(stage, claims(0))
    await stage.run()
    await stage.until_idle()
    stored = {row.receipt_type: json.loads(row.payload_json) for row in await rows(stage, receipts)}
    done = stored["JobFinishedReceipt"]
    assert stored["JobStartedReceipt"]["timestamp"] < done["time_started"] < done["timestamp"]
    (row,) = await rows(stage, verdicts)
    assert row.run_us > 0
    assert abs(done["time_took_us"] - row.run_us) < 1_000_000


async def test_a_stock_miner_never_sees_a_progress_receipt(stage: Stage) -> None:
    async def script(talk: Talk) -> None:
        uuid = await begin(talk)
        await talk.send(render(HordeProgress(job_uuid=uuid, run_us=1)))
        await talk.send(frames.V0ExecutionDoneRequest(job_uuid=uuid))
        await talk.send(finished(uuid))
        await talk.until(V0JobFinishedReceiptRequest)

    miner = await start(stage, script, extensions=STOCK)
    assert (await stage.run()).state is JobState.COMPLETED
    assert miner.of(HordeProgressReceipt) == []
    assert await rows(stage, progress_receipts) == []


async def test_a_job_without_a_command_proves_nothing(stage: Stage) -> None:
    """A miner that has not been told what to run cannot run it."""

    async def script(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(HordeProgress(job_uuid=uuid, run_us=HOUR_US))
        await finish(talk, uuid)

    miner = await start(stage, script)
    assert (await stage.run()).state is JobState.COMPLETED
    assert miner.of(HordeProgressReceipt) == []


async def test_a_miner_that_missed_a_progress_receipt_gets_it_on_the_next_connection(stage: Stage) -> None:
    miner = await start(stage, claims(0), acknowledges=False)
    await stage.run()
    await stage.until_idle()
    assert stage.validator is not None
    miner.acknowledges = True
    before = len(miner.of(HordeProgressReceipt))
    miner.script = _just_listens
    await stage.validator.polls.ask(stage.validator.parts.directory.miners())

    async def acknowledged() -> bool:
        return all(row.acknowledged_at for row in await rows(stage, progress_receipts))

    assert await eventually(acknowledged)
    assert len(miner.of(HordeProgressReceipt)) == before + 1


async def _just_listens(talk: Talk) -> None:
    await talk.greet()
    await talk.listen_for(5)
