"""The validators' link: who gets in, whose reports count, and what a broken peer can do."""

import json
from typing import Any

import aiohttp
import pytest

from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.signing import to_hex
from tests.fixtures.waiting import eventually
from tests.integration.facilitator.conftest import (
    OTHER_VALIDATOR,
    STRANGER,
    VALIDATOR,
    Facilitator,
    job_body,
    linked,
)

RESUMING = frozenset({Extension.RESUME})


def hello(**change: Any) -> str:
    key = VALIDATOR.public_key
    frame = {
        "message_type": "V0AuthenticationRequest",
        "public_key": key.hex(),
        "signature": to_hex(VALIDATOR.sign(key)),
    }
    return json.dumps({**frame, **change})


@pytest.mark.parametrize(
    ("sent", "error", "close_code"),
    [
        (hello(public_key=STRANGER.public_key.hex()), "auth.validator_not_found", 3001),
        (hello(public_key="zz"), "auth.validator_not_found", 3001),
        (hello(signature="0x" + "00" * 64), "auth.signature_invalid", 3000),
        (hello(signature="no hex"), "auth.signature_invalid", 3000),
    ],
)
async def test_a_wrong_authentication_is_answered_and_closed(
    facilitator: Facilitator, sent: str, error: str, close_code: int
) -> None:
    async with facilitator.http.ws_connect(f"{facilitator.base}/ws/v0/") as socket:
        await socket.send_str(sent)
        answer = json.loads(await socket.receive_str(timeout=5))
        assert (answer["status"], answer["errors"][0]["type"]) == ("error", error)
        closing = await socket.receive(timeout=5)
        assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, close_code)


async def test_other_frames_before_authentication_are_refused_and_the_link_stays(
    facilitator: Facilitator,
) -> None:
    async with facilitator.http.ws_connect(f"{facilitator.base}/ws/v0/") as socket:
        for sent, error in (
            ('{"message_type":"V0Heartbeat"}', "auth.not_authenticated"),
            ("garbage", "frame.not_json"),
        ):
            await socket.send_str(sent)
            assert json.loads(await socket.receive_str(timeout=5))["errors"][0]["type"] == error
        await socket.send_str(hello())
        assert json.loads(await socket.receive_str(timeout=5))["status"] == "success"


async def test_a_challenge_must_be_signed_by_those_who_announce_it(facilitator: Facilitator) -> None:
    async with linked(facilitator, extensions=frozenset({Extension.CHALLENGE})):
        pass
    headers = {"X-Horde-Extensions": "challenge/1"}
    async with facilitator.http.ws_connect(f"{facilitator.base}/ws/v0/", headers=headers) as socket:
        await socket.send_str(hello())
        assert (
            json.loads(await socket.receive_str(timeout=5))["errors"][0]["type"] == "auth.signature_invalid"
        )


@pytest.mark.parametrize(
    "sent",
    [
        "{",
        "[]",
        '{"message_type":"NoSuch"}',
        '{"message_type":"V0JobStatusUpdate"}',
        '{"message_type":"V0Heartbeat","x":1}',
    ],
)
async def test_a_malformed_frame_is_answered_and_the_link_stays(facilitator: Facilitator, sent: str) -> None:
    async with linked(facilitator) as validator:
        await validator.socket.send_str(sent)
        assert (await validator.frame())["status"] == "error"
        _, job = await facilitator.submit(job_body())
        assert (await validator.frame())["uuid"] == job["uuid"]


async def test_only_a_jobs_own_validator_may_report_on_it(facilitator: Facilitator) -> None:
    async with linked(facilitator) as validator, linked(facilitator, OTHER_VALIDATOR) as other:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
        answer = await other.status(job["uuid"], "completed")
        assert answer["errors"][0]["type"] == "job.not_found"
        assert (await validator.status("no-such-job", "received"))["errors"][0]["type"] == "job.not_found"
    _, shown = await facilitator.call("GET", f"/api/v1/jobs/{job['uuid']}/")
    assert shown["status_history"][-1]["status"] == "sent"


async def test_a_second_answer_changes_nothing(facilitator: Facilitator) -> None:
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
        for status in ("received", "completed", "completed", "failed", "accepted"):
            assert (await validator.status(job["uuid"], status))["status"] == "success"
    _, shown = await facilitator.call("GET", f"/api/v1/jobs/{job['uuid']}/")
    assert [entry["status"] for entry in shown["status_history"]] == ["sent", "received", "completed"]


async def test_a_status_unknown_is_never_stored(facilitator: Facilitator) -> None:
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
        assert (await validator.status(job["uuid"], "unknown"))["status"] == "error"


async def test_a_late_report_on_another_link_counts(facilitator: Facilitator) -> None:
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
    async with linked(facilitator) as validator:
        await validator.status(
            job["uuid"],
            "rejected",
            {"job_rejection_details": {"rejected_by": "miner", "reason": "busy", "message": "full"}},
        )
    _, shown = await facilitator.call("GET", f"/api/v1/jobs/{job['uuid']}/")
    assert shown["status_history"][-1]["metadata"]["job_rejection_details"]["reason"] == "busy"


async def test_stock_reports_of_its_own_timeouts_are_the_hordes_fault(facilitator: Facilitator) -> None:
    details = {"reported_by": "validator", "reason": "volumes_timed_out", "message": "late", "context": None}
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
        await validator.status(job["uuid"], "failed", {"horde_failure_details": details})
    _, shown = await facilitator.call("GET", f"/api/v1/jobs/{job['uuid']}/")
    last = shown["status_history"][-1]
    assert (last["status"], last["metadata"]["horde_failure_details"]["reason"]) == (
        "horde_failed",
        "volumes_timed_out",
    )


async def test_a_job_still_sent_is_forwarded_again_to_a_validator_that_ignores_repeats(
    facilitator: Facilitator,
) -> None:
    async with linked(facilitator, extensions=RESUMING) as validator:
        _, job = await facilitator.submit(job_body())
        first = await validator.frame()

    async def nobody_is_linked() -> bool:
        status, answer = await facilitator.submit(job_body())
        return status == 400 and answer["code"] == "validator.not_available"

    await eventually(nobody_is_linked)
    async with linked(facilitator, extensions=RESUMING) as validator:
        again = [await validator.frame()]
        while again[-1]["uuid"] != job["uuid"]:
            again.append(await validator.frame())
        assert again[-1] == first
