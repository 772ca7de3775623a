"""Facilitators that send rubbish, replay, forge or vanish: the validator stays up and runs no forged job."""

import json
from typing import Any

import pytest

from horde_agents.jobs.states import JobState
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.testing.signed_jobs import job_frame
from tests.fixtures.validator import Stage

RUBBISH: list[Any] = [
    "",
    "{",
    "[1]",
    '{"message_type": "Unheard"}',
    '{"status": "maybe"}',
    '{"status": "success", "errors": "x"}',
    '{"message_type": "V2JobRequest"}',
    '{"message_type": "V2JobRequest", "uuid": 7}',
    '{"message_type": "V0JobCheated", "job_uuid": "x"}',
    '{"status": "success", "errors": []}',
    "9" * 100_000,
    "[" * 100_000,
]


async def test_rubbish_frames_neither_end_the_link_nor_lose_an_update(stage: Stage) -> None:
    await stage.start(await stage.miner())
    for frame in RUBBISH:
        await stage.facilitator.send(frame)
    assert (await stage.run()).state is JobState.COMPLETED
    assert stage.facilitator.connections == 1
    assert stage.validator is not None
    await stage.validator.parts.outboxes[stage.facilitator.url].until_empty()


@pytest.mark.parametrize("uuid", ["", "x", "0" * 36, "A" * 36, "../../etc/passwd", "é" * 36, "1" * 5000])
async def test_uuid_that_is_none_is_refused(stage: Stage, uuid: str) -> None:
    miner = await stage.miner()
    await stage.start(miner)
    await stage.facilitator.send(job_frame(stage.signer) | {"uuid": uuid})
    assert (await stage.run()).state is JobState.COMPLETED
    assert len(miner.of(frames.V0InitialJobRequest)) == 1


@pytest.mark.parametrize(
    "signature",
    [
        {"signature": ""},
        {"signature": "AAAA"},
        {"signature": "not base64!"},
        {"timestamp_ns": 1},
        {"signatory": "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"},
        {"signatory": "nobody"},
        {"signature_scope": "FullRequest"},
    ],
    ids=str,
)
async def test_job_without_a_right_signature_never_reaches_a_miner(
    stage: Stage, signature: dict[str, Any]
) -> None:
    miner = await stage.miner()
    await stage.start(miner)
    frame = job_frame(stage.signer)
    frame["signature"] |= signature
    await stage.facilitator.send(frame)
    job = await stage.facilitator.until_final(frame["uuid"])
    assert job.state is JobState.REJECTED
    assert miner.of(frames.V0InitialJobRequest) == []


async def test_signature_of_an_allowed_key_over_another_request_does_not_count(stage: Stage) -> None:
    miner = await stage.miner()
    await stage.start(miner)
    mine, theirs = job_frame(stage.signer), job_frame(KeypairSigner.from_uri("//Eve"), args=["rm"])
    await stage.facilitator.send(theirs | {"signature": mine["signature"]})
    assert (await stage.facilitator.until_final(theirs["uuid"])).state is JobState.REJECTED
    assert miner.of(frames.V0InitialJobRequest) == []


async def test_more_responses_than_updates_are_harmless(stage: Stage) -> None:
    await stage.start(await stage.miner())
    for _ in range(50):
        await stage.facilitator.send(json.dumps({"status": "error", "errors": [{"msg": "m", "type": "t"}]}))
    assert (await stage.run()).state is JobState.COMPLETED


async def test_flapping_facilitator_gets_every_final_state(stage: Stage) -> None:
    await stage.start(await stage.miner(manifest={"always_on.test": 20}), reconnect_cap_s=0.1)
    uuids = []
    for _ in range(8):
        uuids.append(await stage.submit())
        await stage.facilitator.until(lambda: uuids[-1] in stage.facilitator.replica)
        await stage.facilitator.drop()
    for uuid in uuids:
        assert (await stage.facilitator.until_final(uuid)).state is JobState.COMPLETED
