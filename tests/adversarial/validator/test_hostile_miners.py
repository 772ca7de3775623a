"""Miners that lie, stall, flood or forge: the user gets a final state, the miner no advantage."""

from typing import Any

import pytest

from horde_agents.agents.validator import offers
from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason, RejectionReason
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.frames import MAX_FRAME_BYTES
from horde_agents.protocol.signing import Hotkey, KeypairSigner
from horde_agents.protocol.validator_miner import (
    HordeReceiptStored,
    SignedReceipt,
    V0AcceptJobRequest,
    V0DeclineJobRequest,
    V0ExecutorManifestRequest,
    V0JobFinishedReceiptRequest,
)
from horde_agents.receipts.payloads import payload_object
from horde_agents.runtime.clock import now
from horde_agents.testing.scripted_miner import Script, Talk, finish, finished
from tests.fixtures.validator import Stage

CLASS = "always_on.test"


async def end_with(stage: Stage, script: Script, **changes: Any) -> HordeFailed:
    """Run one job at one such miner; the horde's failure it ends with."""
    await stage.start(await stage.known_miner(script), max_attempts=1, **changes)
    job = await stage.run()
    assert job.state is JobState.HORDE_FAILED
    last = job.history[-1]
    assert isinstance(last, HordeFailed)
    return last


async def test_miner_that_connects_and_says_nothing(stage: Stage) -> None:
    async def silent(talk: Talk) -> None:
        await talk.listen_for(60)

    last = await end_with(stage, silent)
    assert last.reason is HordeFaultReason.INITIAL_RESPONSE_TIMED_OUT


async def test_miner_that_closes_right_after_the_authentication_is_not_hammered(stage: Stage) -> None:
    async def closes(_talk: Talk) -> None:
        return

    miner = await stage.known_miner(closes)
    await stage.start(miner, max_attempts=1)
    before = miner.connections
    job = await stage.run()
    assert job.state is JobState.HORDE_FAILED
    assert miner.connections - before < 12


async def test_refusal_of_the_authentication_is_told_to_the_user(stage: Stage) -> None:
    async def refuses(talk: Talk) -> None:
        await talk.send(frames.GenericError(details="Unknown validator: you"))

    last = await end_with(stage, refuses)
    assert last.reason is HordeFaultReason.MINER_CONNECTION_FAILED
    assert "Unknown validator: you" in last.message


async def test_miner_that_sends_garbage_is_given_up(stage: Stage) -> None:
    async def babbles(talk: Talk) -> None:
        await talk.greet()
        await talk.accept()
        for index in range(40):
            await talk.send(["{", "[]", '{"message_type": "Nonsense"}', "\x00"][index % 4])
        await talk.listen_for(60)

    last = await end_with(stage, babbles)
    assert last.reason is HordeFaultReason.GENERIC_ERROR
    assert "unreadable" in last.message


async def test_single_unreadable_frame_is_answered_and_forgiven(stage: Stage) -> None:
    async def stumbles(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send('{"message_type": "V0FutureRequest", "job_uuid": "x"}')
        await talk.until(frames.GenericError)
        await finish(talk, uuid)

    await stage.start(await stage.miner(script=stumbles))
    assert (await stage.run()).state is JobState.COMPLETED


async def test_frame_over_the_limit_ends_the_attempt(stage: Stage) -> None:
    async def floods(talk: Talk) -> None:
        await talk.greet()
        await talk.accept()
        await talk.send("x" * (MAX_FRAME_BYTES + 1))
        await talk.listen_for(60)

    last = await end_with(stage, floods)
    assert last.reason is HordeFaultReason.GENERIC_ERROR


async def test_result_that_comes_before_the_command_is_not_believed(stage: Stage) -> None:
    async def foresees(talk: Talk) -> None:
        await talk.greet()
        await talk.send(finished(await talk.accept(), stdout="I knew"))
        await talk.until(V0JobFinishedReceiptRequest)

    last = await end_with(stage, foresees)
    assert "before it was told what to run" in last.message


async def test_user_is_not_blamed_by_a_miner_that_never_accepted(stage: Stage) -> None:
    async def blames(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        await talk.send(
            frames.V0JobFailedRequest(job_uuid=offer.job_uuid, reason=JobFaultReason.NONZERO_RETURN_CODE)
        )
        await talk.until(V0JobFinishedReceiptRequest)

    last = await end_with(stage, blames)
    assert last.reason is HordeFaultReason.GENERIC_ERROR


async def test_miner_that_answers_twice_is_heard_once(stage: Stage) -> None:
    async def stutters(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(V0AcceptJobRequest(job_uuid=uuid))
        for _ in range(3):
            await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await talk.until(frames.V0JobRequest)
        await talk.send(finished(uuid, stdout="first"))
        await talk.send(finished(uuid, stdout="second"))
        await talk.send(frames.V0JobFailedRequest(job_uuid=uuid))
        await talk.until(V0JobFinishedReceiptRequest)

    miner = await stage.miner(script=stutters)
    await stage.start(miner)
    uuid = await stage.submit()
    await stage.facilitator.until_final(uuid)
    await stage.until_idle()
    states = stage.facilitator.states(uuid)
    assert len(states) == len(set(states))
    assert (stage.facilitator.updates[-1].metadata or {})["miner_response"][
        "docker_process_stdout"
    ] == "first"
    assert len(miner.of(frames.V0JobRequest)) == 1
    assert len(miner.of(V0JobFinishedReceiptRequest)) == 1


async def test_frames_about_other_attempts_change_nothing(stage: Stage) -> None:
    async def confuses(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(finished("11111111-1111-4111-8111-111111111111", stdout="not yours"))
        await talk.send(V0DeclineJobRequest(job_uuid="nonsense"))
        await finish(talk, uuid)

    await stage.start(await stage.miner(script=confuses))
    assert (await stage.run()).state is JobState.COMPLETED


async def test_manifest_that_changes_in_the_middle_counts_from_then_on(stage: Stage) -> None:
    async def shrinks(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(V0ExecutorManifestRequest(manifest={}))
        await finish(talk, uuid)

    miner = await stage.miner(script=shrinks)
    validator = await stage.start(miner)
    assert (await stage.run()).state is JobState.COMPLETED
    assert validator.parts.manifests.of(miner.hotkey) == {}


async def test_unknown_and_impossible_manifest_entries_do_not_hide_the_rest(stage: Stage) -> None:
    miner = await stage.miner(manifest={"quantum.qpu": 5, "always_on.gpu-24gb": -1, CLASS: 10**12})
    validator = await stage.start(miner)
    assert (await stage.run()).state is JobState.COMPLETED
    assert validator.parts.manifests.of(miner.hotkey) == {CLASS: 100}


async def test_miner_cannot_end_a_job_as_cancelled_by_itself(stage: Stage) -> None:
    async def takes_back(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(
            frames.V0JobFailedRequest(
                job_uuid=uuid, reason=JobFaultReason.UNKNOWN, context={"cause": "cancelled"}
            )
        )
        await talk.until(V0JobFinishedReceiptRequest)

    last = await end_with(stage, takes_back)
    assert last.origin is Role.MINER


def excuse(miner_hotkey: str, validator: KeypairSigner, signer: KeypairSigner) -> SignedReceipt:
    """A started receipt that names ``validator`` and is signed by ``signer``."""
    at = now()
    receipt = offers.started_receipt(offers.new_key(Hotkey(miner_hotkey)), CLASS, 7.0, validator, at)
    signed = offers.started_receipt(
        offers.AttemptKey(receipt.payload.job_uuid, Hotkey(miner_hotkey)), CLASS, 7.0, signer, at
    )
    signature = receipt.validator_signature if signer is validator else signed.validator_signature
    return SignedReceipt(payload=payload_object(receipt.payload), validator_signature=signature)


RICH, POOR = KeypairSigner.from_uri("//Rich"), KeypairSigner.from_uri("//Poor")


@pytest.mark.parametrize(
    ("validator", "signer", "copies", "is_excused"),
    [
        (RICH, RICH, 1, True),
        (RICH, POOR, 1, False),  # forged
        (POOR, POOR, 1, False),  # too little stake
        (RICH, RICH, 2, True),
        (None, None, 0, False),
    ],
    ids=["true", "forged", "poor", "true-twice", "none"],
)
async def test_only_true_excuses_spare_a_busy_miner(
    stage: Stage, validator: KeypairSigner | None, signer: KeypairSigner | None, copies: int, is_excused: bool
) -> None:
    shown: list[SignedReceipt] = []

    async def declines(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        await talk.send(
            V0DeclineJobRequest(job_uuid=offer.job_uuid, reason=RejectionReason.BUSY, receipts=shown)
        )
        await talk.until(V0JobFinishedReceiptRequest)

    miner = await stage.known_miner(declines)
    if validator is not None and signer is not None:
        shown += [excuse(miner.hotkey, validator, signer)] * copies
    running = await stage.start(miner, max_attempts=1, decline_pause_s=60.0)
    running.parts.directory.stake_rao = {RICH.hotkey: 10**15, POOR.hotkey: 10**9}
    assert (await stage.run()).state is JobState.REJECTED
    assert (await stage.blacklist() == {}) is is_excused


async def test_one_excuse_shown_twice_does_not_cover_two_executors(stage: Stage) -> None:
    shown: list[SignedReceipt] = []

    async def declines(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        await talk.send(
            V0DeclineJobRequest(job_uuid=offer.job_uuid, reason=RejectionReason.BUSY, receipts=shown)
        )
        await talk.until(V0JobFinishedReceiptRequest)

    miner = await stage.known_miner(declines, manifest={CLASS: 2})
    shown += [excuse(miner.hotkey, RICH, RICH)] * 2
    running = await stage.start(miner, max_attempts=1, decline_pause_s=60.0)
    running.parts.directory.stake_rao = {RICH.hotkey: 10**15}
    assert (await stage.run()).state is JobState.REJECTED
    assert set(await stage.blacklist()) == {miner.hotkey}


async def test_acknowledging_receipts_of_others_changes_nothing(stage: Stage) -> None:
    """A miner may only confirm what was sent to it on this very connection."""
    honest = await stage.miner("honest", acknowledges=False)
    await stage.start(honest, receipt_ack_s=0.1)
    await stage.run()
    await stage.until_idle()
    victim = honest.of(V0JobFinishedReceiptRequest)[0].payload["job_uuid"]

    async def confirms_others(talk: Talk) -> None:
        await talk.greet()
        await talk.send(HordeReceiptStored(job_uuid=victim, receipt_type="JobFinishedReceipt"))
        await finish(talk, await talk.accept())

    liar = await stage.miner("liar", script=confirms_others)
    await stage.start(liar, receipt_ack_s=0.1)
    assert (await stage.run()).state is JobState.COMPLETED
    assert len(liar.of(frames.V0InitialJobRequest)) == 1
    await stage.until_idle()
    assert await stage.kept_receipts(honest) == 2
