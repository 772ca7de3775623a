"""A job from the facilitator's link through a miner and back, with receipts on both sides."""

from horde_agents.jobs.states import JobState
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.signing import from_hex, verify
from horde_agents.protocol.validator_miner import (
    V0JobAcceptedReceiptRequest,
    V0JobFinishedReceiptRequest,
    frame_signature_holds,
)
from horde_agents.receipts.payloads import read_payload, signed_text
from horde_agents.testing.scripted_miner import STOCK
from tests.fixtures.validator import Stage


async def test_job_runs_to_completion_and_user_hears_every_milestone_once(stage: Stage) -> None:
    await stage.start(await stage.miner())
    uuid = await stage.submit()
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.COMPLETED
    assert stage.facilitator.states(uuid) == [
        "received",
        "accepted",
        "executor_ready",
        "volumes_ready",
        "execution_done",
        "completed",
    ]
    metadata = stage.facilitator.updates[-1].metadata
    assert metadata is not None
    assert metadata["miner_response"]["docker_process_stdout"] == "hello\n"


async def test_attempt_has_a_uuid_of_its_own_and_frames_are_signed(stage: Stage) -> None:
    miner = await stage.miner()
    await stage.start(miner)
    uuid = await stage.submit()
    await stage.facilitator.until_final(uuid)
    (attempt,) = await stage.attempts(uuid)
    assert attempt.uuid != uuid
    (offer,) = miner.of(frames.V0InitialJobRequest)
    (request,) = miner.of(frames.V0JobRequest)
    assert offer.job_uuid == request.job_uuid == attempt.uuid
    assert request.docker_run_cmd == ["echo", "hello"]
    assert request.volume is None
    signed = [value for value in miner.raw if "validator_signature" in value]
    assert [frame_signature_holds(value, stage.signer.hotkey) for value in signed] == [True, True]


async def test_receipts_reach_a_stock_miner_signed_and_valued(stage: Stage) -> None:
    miner = await stage.miner(extensions=STOCK)
    await stage.start(miner)
    await stage.run()
    (offer,) = miner.of(frames.V0InitialJobRequest)
    (accepted,) = miner.of(V0JobAcceptedReceiptRequest)
    (finished,) = miner.of(V0JobFinishedReceiptRequest)
    assert offer.job_started_receipt_payload is not None
    receipts = [
        (offer.job_started_receipt_payload, offer.job_started_receipt_signature or ""),
        (accepted.payload, accepted.signature),
        (finished.payload, finished.signature),
    ]
    for payload, signature in receipts:
        assert verify(stage.signer.hotkey, signed_text(read_payload(payload)), from_hex(signature))
    assert finished.payload["score_str"] == "20.000000"
    assert accepted.payload["ttl"] == 3 + 10 + 5 + 5 + 10 + 5


async def test_miner_without_extensions_sees_no_unknown_frame(stage: Stage) -> None:
    miner = await stage.miner(extensions=STOCK)
    await stage.start(miner)
    await stage.run()
    kinds = {value["message_type"] for value in miner.raw}
    assert not {kind for kind in kinds if kind.startswith("Horde")}
