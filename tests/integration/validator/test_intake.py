"""Which jobs the validator takes from a facilitator, and what it says about the others."""

import json
from typing import Any
from uuid import uuid4

import pytest

from horde_agents.agents.validator.records import SUBMIT
from horde_agents.agents.validator.settings import TrustedMinerEntry
from horde_agents.jobs.states import JobState
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY, KeypairSigner
from horde_agents.store.access import Entry, put
from horde_agents.testing.signed_jobs import job_frame, resigned
from tests.fixtures.validator import Stage


async def refusal(stage: Stage, frame: dict[str, Any]) -> dict[str, Any]:
    """What the user is told about a job that is rejected."""
    await stage.facilitator.send(frame)
    job = await stage.facilitator.until_final(frame["uuid"])
    assert job.state is JobState.REJECTED
    details = (stage.facilitator.updates[-1].metadata or {})["job_rejection_details"]
    assert details["rejected_by"] == "validator"
    return dict(details)


async def allow(stage: Stage, hotkey: str, *, allowed: bool = True) -> None:
    assert stage.validator is not None
    await stage.validator.parts.store.writer.run(
        lambda connection: put(connection, SUBMIT, Entry(hotkey, allowed))
    )


async def test_stranger_is_refused_until_the_operator_allows_them(stage: Stage) -> None:
    await stage.start(await stage.miner())
    stranger = KeypairSigner.from_uri("//Stranger")
    details = await refusal(stage, job_frame(stranger))
    assert details["reason"] == "invalid_signature"
    assert "horde validator allow" in details["message"]
    await allow(stage, stranger.hotkey)
    frame = job_frame(stranger)
    await stage.facilitator.send(frame)
    assert (await stage.facilitator.until_final(frame["uuid"])).state is JobState.COMPLETED
    await allow(stage, stranger.hotkey, allowed=False)
    await refusal(stage, job_frame(stranger))


@pytest.mark.parametrize(
    "change",
    [
        {"docker_image": "evil:1"},
        {"args": ["echo", "hello "]},
        {"env": {"A": "1"}},
        {"execution_time_limit": 11},
        {"on_trusted_miner": True},
    ],
    ids=str,
)
async def test_any_signed_field_that_was_changed_on_the_way_is_noticed(
    stage: Stage, change: dict[str, Any]
) -> None:
    await stage.start(await stage.miner())
    details = await refusal(stage, job_frame(stage.signer) | change)
    assert details["reason"] == "invalid_signature"


async def test_key_order_that_was_signed_is_kept(stage: Stage) -> None:
    miner = await stage.miner()
    await stage.start(miner)
    volumes = [{"volume_type": "single_file", "url": "http://h/é", "relative_path": "a"}]
    job = await stage.run(env={"Z": "1", "A": "ü"}, volumes=volumes, artifacts_dir="/a")
    assert job.state is JobState.COMPLETED
    (request,) = miner.of(frames.V0JobRequest)
    assert list(request.env) == ["Z", "A"]


async def test_same_job_forwarded_twice_runs_once(stage: Stage) -> None:
    miner = await stage.miner()
    await stage.start(miner)
    frame = job_frame(stage.signer)
    await stage.facilitator.send(frame)
    await stage.facilitator.send(frame)
    await stage.facilitator.until_final(frame["uuid"])
    await stage.facilitator.send(frame)
    other = await stage.submit()
    await stage.facilitator.until_final(other)
    assert len(miner.of(frames.V0InitialJobRequest)) == 2
    assert stage.facilitator.states(frame["uuid"]).count("received") == 1


async def test_replayed_signature_under_another_uuid_is_rejected(stage: Stage) -> None:
    miner = await stage.miner()
    await stage.start(miner)
    frame = job_frame(stage.signer)
    await stage.facilitator.send(frame)
    await stage.facilitator.until_final(frame["uuid"])
    details = await refusal(stage, frame | {"uuid": str(uuid4())})
    assert details["reason"] == "invalid_signature"
    assert frame["uuid"] in details["message"]
    assert len(miner.of(frames.V0InitialJobRequest)) == 1


async def test_refused_forgery_does_not_use_up_the_signature(stage: Stage) -> None:
    await stage.start(await stage.miner())
    frame = job_frame(stage.signer)
    await refusal(stage, frame | {"uuid": str(uuid4()), "docker_image": "evil:1"})
    await stage.facilitator.send(frame)
    assert (await stage.facilitator.until_final(frame["uuid"])).state is JobState.COMPLETED


async def test_unknown_class_is_rejected_by_name(stage: Stage) -> None:
    await stage.start(await stage.miner())
    frame = resigned(stage.signer, job_frame(stage.signer) | {"executor_class": "quantum"})
    details = await refusal(stage, frame)
    assert details["reason"] == "no_miner_for_job"
    assert "'quantum' is not known" in details["message"]


async def test_job_longer_than_allowed_is_rejected_with_the_limit(stage: Stage) -> None:
    await stage.start(await stage.miner(), longest_job_s=20)
    details = await refusal(stage, job_frame(stage.signer))
    assert "at most 20 s" in details["message"]


async def test_unreadable_job_that_names_itself_is_rejected(stage: Stage) -> None:
    await stage.start(await stage.miner())
    details = await refusal(stage, job_frame(stage.signer) | {"download_time_limit": -1})
    assert "download_time_limit" in details["message"]
    details = await refusal(stage, job_frame(stage.signer) | {"surprise": 1})
    assert "surprise" in details["message"]


async def test_trusted_jobs_go_to_the_trusted_miner_alone(stage: Stage) -> None:
    trusted, public = await stage.miner("trusted"), await stage.miner("public")
    await stage.start(public, trusted_miner=TrustedMinerEntry(host="127.0.0.1", port=trusted.port))
    uuid = await stage.submit(on_trusted_miner=True)
    assert (await stage.facilitator.until_final(uuid)).state is JobState.COMPLETED
    (attempt,) = await stage.attempts(uuid)
    assert attempt.miner_hotkey == TRUSTED_MINER_HOTKEY
    assert len(trusted.of(frames.V0InitialJobRequest)) == 1
    assert public.of(frames.V0InitialJobRequest) == []


async def test_trusted_job_without_a_trusted_miner_is_rejected_with_the_setting(stage: Stage) -> None:
    await stage.start(await stage.miner())
    details = await refusal(stage, job_frame(stage.signer, on_trusted_miner=True))
    assert "trusted_miner" in details["message"]


async def test_job_is_stored_before_received_is_told(stage: Stage) -> None:
    validator = await stage.start(await stage.miner())
    frame = job_frame(stage.signer)
    await stage.facilitator.send(frame)
    await stage.facilitator.until(lambda: "received" in stage.all_states())
    async with validator.parts.store.reading() as connection:
        (row,) = (await connection.exec_driver_sql("SELECT request_json, tag FROM jobs")).all()
    assert json.loads(row.request_json) == frame
    assert row.tag == stage.facilitator.url
