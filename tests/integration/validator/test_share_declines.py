"""A miner that declines for our share: believed where its numbers hold, at fault where they do not."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from horde_agents.jobs.faults import RejectionReason
from horde_agents.jobs.states import JobState
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.signing import KeypairSigner, to_hex
from horde_agents.protocol.validator_miner import V0DeclineJobRequest, V0JobFinishedReceiptRequest
from horde_agents.receipts.payloads import JobStarted, payload_object, signed_text
from horde_agents.runtime.clock import now
from horde_agents.testing.scripted_miner import Script, ScriptedMiner, Talk
from tests.fixtures.validator import Stage

RIVAL = KeypairSigner.from_uri("//Rival")
CLASS = "always_on.test"


def wish(miner: ScriptedMiner, uuid: str) -> dict[str, Any]:
    payload = JobStarted(
        job_uuid=uuid, miner_hotkey=miner.hotkey, validator_hotkey=RIVAL.hotkey,
        timestamp=datetime.now(UTC), executor_class=CLASS, is_organic=True, ttl=7,
    )  # fmt: skip
    signature = to_hex(RIVAL.sign(signed_text(payload)))
    return {"payload": payload_object(payload), "validator_signature": signature}


def declines_for_share(own_hotkey: str, change: Mapping[str, Any], same_wish: str = "") -> Script:
    async def script(talk: Talk) -> None:
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        context = {
            "reason": "share",
            "executor_class": CLASS,
            "at": datetime.now(UTC).isoformat(),
            "window_s": 3600,
            "usage_s": {own_hotkey: 50},
            "shares": {own_hotkey: "1/2", RIVAL.hotkey: "1/2"},
            "asked": {RIVAL.hotkey: wish(talk.miner, same_wish or str(uuid4()))},
            **change,
        }
        decline = V0DeclineJobRequest(
            job_uuid=offer.job_uuid, message="share", reason=RejectionReason.BUSY, context=context
        )
        await talk.send(decline)
        await talk.until(V0JobFinishedReceiptRequest)

    return script


async def declined(stage: Stage, change: Mapping[str, Any], jobs: int = 1, same_wish: str = "") -> float:
    """The reliability of a miner after its declines; 1 when they were all believed."""
    miner = await stage.known_miner(declines_for_share(stage.signer.hotkey, change, same_wish))
    validator = await stage.start(miner, decline_pause_s=0.0)
    for _ in range(jobs):
        job = await stage.run()
        assert job.state is JobState.REJECTED
    await stage.until_idle()
    return validator.parts.reliability.factor(miner.hotkey, now().timestamp())


async def test_a_decline_whose_numbers_hold_costs_the_miner_nothing(stage: Stage) -> None:
    assert await declined(stage, {}) == 1.0


async def test_a_decline_whose_numbers_do_not_hold_is_an_incident(stage: Stage) -> None:
    unfair = {"usage_s": {stage.signer.hotkey: 9000}}
    assert await declined(stage, unfair) < 0.7


async def test_numbers_that_cannot_be_read_are_an_incident(stage: Stage) -> None:
    assert await declined(stage, {"usage_s": "garbage", "asked": 7}) < 0.7


async def test_the_same_wish_excuses_no_second_decline(stage: Stage) -> None:
    assert await declined(stage, {}, jobs=2, same_wish=str(uuid4())) < 1.0


async def test_a_plain_decline_without_excuse_weighs_less_than_an_unfair_one(stage: Stage) -> None:
    plain = await declined(stage, {"reason": "tired"})
    assert 0.8 < plain < 1.0


async def test_what_we_had_before_a_restart_is_known_after_it(stage: Stage) -> None:
    miner = await stage.miner()
    await stage.start(miner)
    await stage.run()
    validator = await stage.restart()
    assert miner.hotkey in validator.parts.shares._of
