"""Validators that lie, stay silent, flood or meddle: each is answered, and those served never notice."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from horde_agents.protocol.frames import render
from horde_agents.protocol.signing import to_hex
from horde_agents.protocol.validator_miner import render_signed, sign_auth
from tests.integration.miner.conftest import (
    OTHER,
    STRANGER,
    VALIDATOR,
    Miner,
    Peer,
    new_uuid,
    offer,
    pages,
    receipt_frame,
    serving,
    signed_offer,
    started,
)
from tests.integration.miner.conftest import miner as _miner

miner = _miner


async def still_serves(miner: Miner) -> None:
    async with miner.executor() as executor, miner.validator() as validator:
        await validator.send(signed_offer(miner, new_uuid()))
        await validator.expect("V0AcceptJobRequest")
        await executor.expect("V0InitialJobRequest")


async def refusal(peer: Peer) -> str:
    return str((await peer.expect("GenericError"))["details"])


async def test_wrong_authentications_are_answered_in_the_wires_words(miner: Miner) -> None:
    now = int(time.time())
    good = sign_auth(VALIDATOR, miner.hotkey, now, [])
    cases = [
        (VALIDATOR.hotkey, sign_auth(VALIDATOR, miner.hotkey, now - 60, []), "token too old"),
        (VALIDATOR.hotkey, sign_auth(VALIDATOR, miner.hotkey, now + 60, []), "token from the future"),
        (VALIDATOR.hotkey, sign_auth(VALIDATOR, STRANGER.hotkey, now, []), "wrong miner hotkey"),
        (OTHER.hotkey, good, "wrong validator hotkey"),
        (VALIDATOR.hotkey, good.model_copy(update={"signature": to_hex(bytes(64))}), "signature mismatch"),
        (
            STRANGER.hotkey,
            sign_auth(STRANGER, miner.hotkey, now, []),
            f"Unknown validator: {STRANGER.hotkey}",
        ),
    ]
    for path, auth, words in cases:
        async with miner.raw(path) as peer:
            await peer.send(render(auth))
            assert words in await refusal(peer)
    await still_serves(miner)


@pytest.mark.parametrize(
    "sent", ["{", "[]", '{"message_type":"Nonsense"}', '{"message_type":"V0MainHotkeyMessage"}']
)
async def test_garbage_before_authentication_is_refused(miner: Miner, sent: str) -> None:
    async with miner.raw() as peer:
        await peer.send(sent)
        assert await refusal(peer)


async def test_a_first_frame_without_end_is_refused_unread(miner: Miner) -> None:
    async with miner.raw() as peer:
        await peer.send("[" + "0," * 100_000 + "0]")
        assert "65536 is the most" in await refusal(peer)


async def test_a_peer_that_connects_and_says_nothing_is_told_and_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path, auth_s=0.3) as miner, miner.raw() as silent:
        assert "no authentication came" in await refusal(silent)
        await still_serves(miner)
        assert (await silent.socket.receive(timeout=20)).type is aiohttp.WSMsgType.CLOSE


async def test_refused_peers_are_held_and_then_turned_away_at_the_door(miner: Miner) -> None:
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as http:
        url = f"ws://{miner.base}/v0.1/validator_interface/{STRANGER.hotkey}"

        async def knock() -> str:
            try:
                async with http.ws_connect(url) as socket:
                    await socket.send_str("nonsense")
                    await socket.receive_str(timeout=10)
                    await asyncio.sleep(0.5)
                    return "held"
            except aiohttp.WSServerHandshakeError as error:
                return str(error.status)

        first = [group.create_task(knock()) for _ in range(8)]
        await asyncio.sleep(0.3)
        assert await knock() == "429"
        await asyncio.wait_for(still_serves(miner), 10)
    assert {task.result() for task in first} == {"held"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"job_started_receipt_signature": "0x" + "00" * 64}, "invalid_receipt"),
        ({"job_started_receipt_payload": None}, "invalid_receipt"),
        ({"executor_class": "always_on.llm.a6000"}, "busy"),
    ],
)
async def test_a_wrong_offer_is_declined_with_its_reason(
    miner: Miner, change: dict[str, Any], reason: str
) -> None:
    async with miner.executor(), miner.validator() as validator:
        frame = offer(started(miner, new_uuid()), **change)
        await validator.send(render_signed(frame, VALIDATOR))
        assert (await validator.expect("V0DeclineJobRequest"))["reason"] == reason
    assert await pages(miner) == []


async def test_a_started_receipt_about_others_is_declined(miner: Miner) -> None:
    receipts = [
        started(miner, new_uuid(), miner_hotkey=STRANGER.hotkey),
        started(miner, new_uuid(), OTHER),
        started(miner, new_uuid(), executor_class="always_on.llm.a6000"),
    ]
    async with miner.executor(), miner.validator() as validator:
        for receipt in receipts:
            await validator.send(render_signed(offer(receipt), VALIDATOR))
            assert (await validator.expect("V0DeclineJobRequest"))["reason"] == "invalid_receipt"


async def test_a_wrong_frame_signature_is_declined_and_an_absent_one_is_not(miner: Miner) -> None:
    async with miner.executor(), miner.validator() as validator:
        value = json.loads(signed_offer(miner, new_uuid()))
        await validator.say(**{**value, "docker_image": "other"})
        assert (await validator.expect("V0DeclineJobRequest"))["reason"] == "invalid_signature"
        del value["validator_signature"]
        await validator.say(**value)
        await validator.expect("V0AcceptJobRequest")


async def test_a_strict_miner_declines_unsigned_frames(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, require_frame_signature=True) as miner,
        miner.executor(),
        miner.validator() as validator,
    ):
        value = json.loads(signed_offer(miner, new_uuid()))
        del value["validator_signature"]
        await validator.say(**value)
        assert (await validator.expect("V0DeclineJobRequest"))["reason"] == "invalid_signature"


async def test_nobody_meddles_with_anothers_attempt(miner: Miner) -> None:
    uuid = new_uuid()
    async with miner.executor() as executor, miner.validator() as validator, miner.validator(OTHER) as other:
        await validator.send(signed_offer(miner, uuid))
        await validator.expect("V0AcceptJobRequest")
        await executor.expect("V0InitialJobRequest")
        await other.say(message_type="V0JobRequest", job_uuid=uuid, executor_class="always_on.test")
        assert "not open here" in await refusal(other)
        await other.say(message_type="HordeCancelJob", job_uuid=uuid)
        await other.send(signed_offer(miner, uuid, OTHER))
        assert (await other.expect("V0DeclineJobRequest"))["reason"] == "unknown"
        await validator.say(message_type="V0JobRequest", job_uuid=uuid, executor_class="always_on.test")
        assert (await executor.expect("V0JobRequest"))["job_uuid"] == uuid, "no cancel came before it"


async def test_a_forged_receipt_is_refused_and_not_published(miner: Miner) -> None:
    payload = started(miner, new_uuid())
    async with miner.validator() as validator:
        frame = receipt_frame(payload, "V0JobFinishedReceiptRequest")
        await validator.say(**frame)
        assert "receipt" in await refusal(validator)
    assert await pages(miner) == []


async def test_one_validator_cannot_take_more_attempts_than_its_share(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, max_open_attempts=1) as miner,
        miner.executor(),
        miner.validator() as validator,
    ):
        await validator.send(signed_offer(miner, new_uuid()))
        await validator.expect("V0AcceptJobRequest")
        await validator.send(signed_offer(miner, new_uuid()))
        declined = await validator.expect("V0DeclineJobRequest")
        assert "attempts open" in declined["message"]


async def test_a_malformed_frame_in_the_middle_is_answered_and_the_rest_goes_on(miner: Miner) -> None:
    async with miner.executor(), miner.validator() as validator:
        await validator.send('{"message_type": "V0InitialJobRequest"}')
        assert await refusal(validator)
        await validator.send(signed_offer(miner, new_uuid()))
        await validator.expect("V0AcceptJobRequest")
