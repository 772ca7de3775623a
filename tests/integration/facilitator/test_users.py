"""What users send and get, with the codes that docs/operate/reference.md promises."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.facilitator_validator import WireSignature
from horde_agents.protocol.rest_api import ERRORS
from horde_agents.protocol.signed_fields import (
    signed_fields_payload,
    verify_payload,
    view_of_forwarded,
)
from tests.fixtures.waiting import eventually
from tests.integration.facilitator.conftest import (
    OTHER_VALIDATOR,
    STRANGER,
    USER,
    Facilitator,
    job_body,
    linked,
    login_body,
    serving,
    signed,
    signed_whole,
)

DONE = {
    "miner_response": {
        "docker_process_stdout": "hi\n",
        "docker_process_stderr": "",
        "artifacts": {"/a/b": "aGk="},
        "upload_results": {},
    }
}


def refused(answer: tuple[int, Any], code: str) -> None:
    status, body = answer
    assert (body["code"], status) == (code, ERRORS[code][0]), body
    assert body["error"]
    assert body["detail"] == body["error"]


async def test_a_job_travels_and_its_signature_still_verifies_at_the_validator(
    facilitator: Facilitator,
) -> None:
    async with linked(facilitator) as validator:
        status, job = await facilitator.submit(job_body())
        frame = await validator.frame()
        signature = WireSignature.model_validate(frame["signature"]).plain()
        assert verify_payload(signature, signed_fields_payload(view_of_forwarded(frame)))
        assert (status, frame["uuid"], frame["args"], list(frame["env"])) == (
            201,
            job["uuid"],
            [" ünïcode\n", ""],
            ["B", "A"],
        )
        for state in ("received", "accepted", "executor_ready", "volumes_ready", "execution_done"):
            assert (await validator.status(job["uuid"], state))["status"] == "success"
        await validator.status(job["uuid"], "completed", DONE)
    status, job = await facilitator.call("GET", f"/api/v1/jobs/{job['uuid']}/")
    assert [entry["status"] for entry in job["status_history"]] == [
        "sent", "received", "accepted", "executor_ready", "volumes_ready", "execution_done", "completed",
    ]  # fmt: skip
    assert (job["stdout"], job["artifacts"], job["status"]) == ("hi\n", {"/a/b": "aGk="}, "Completed")


async def test_a_repeated_signed_request_returns_the_job_already_made(facilitator: Facilitator) -> None:
    body = job_body()
    headers = signed(body)
    async with linked(facilitator):
        _, first = await facilitator.call("POST", "/api/v1/job-docker/", body, headers)
        _, again = await facilitator.call("POST", "/api/v1/job-docker/", {**body, "tag": "other"}, headers)
    assert again["uuid"] == first["uuid"]
    status, later = await facilitator.call("POST", "/api/v1/job-docker/", body, headers)
    assert (status, later["uuid"]) == (201, first["uuid"]), "the validator is away, the job is not"
    _, page = await facilitator.call("GET", "/api/v1/jobs/")
    assert page["count"] == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"executor_class": "no.such.class"}, "job.unknown_class"),
        ({"docker_image": "Not An Image!"}, "job.invalid"),
        ({"docker_image": ""}, "job.invalid"),
        ({"execution_time_limit": -1}, "job.invalid"),
        ({"execution_time_limit": "6"}, "job.invalid"),
        ({"args": "ls"}, "job.invalid"),
        ({"env": {"A": 1}}, "job.invalid"),
        ({"artifacts_dir": "relative"}, "job.invalid"),
        (
            {"volumes": [{"volume_type": "single_file", "url": "http://x/f", "relative_path": "../up"}]},
            "job.invalid",
        ),
        ({"volumes": [{"volume_type": "no_such_type"}]}, "job.invalid"),
        (
            {
                "uploads": [
                    {"output_upload_type": "single_file_put", "url": "http://x", "relative_path": "/abs"}
                ]
            },
            "job.invalid",
        ),
        ({"target_validator_hotkey": STRANGER.hotkey}, "validator.not_available"),
        (
            {"volumes": [{"volume_type": "inline", "contents": "A" * 1_100_000, "relative_path": None}]},
            "body.too_large",
        ),
    ],
)
async def test_a_wrong_job_is_refused_with_its_code_and_nothing_is_stored(
    facilitator: Facilitator, change: dict[str, Any], code: str
) -> None:
    async with linked(facilitator):
        refused(await facilitator.submit(job_body(**change)), code)
    _, page = await facilitator.call("GET", "/api/v1/jobs/")
    assert page["count"] == 0


async def test_wrong_and_stale_signatures_are_refused(facilitator: Facilitator) -> None:
    body = job_body()
    path = "/api/v1/job-docker/"
    async with linked(facilitator):
        refused(await facilitator.call("POST", path, body), "signature.missing")
        refused(
            await facilitator.call("POST", path, body, signed(job_body(args=["other"]))), "signature.invalid"
        )
        refused(await facilitator.call("POST", path, body, signed(body, age_s=600)), "signature.stale")
        refused(await facilitator.call("POST", path, body, signed(body, age_s=-600)), "signature.stale")
        refused(
            await facilitator.call("POST", path, body, signed(body, STRANGER)), "signature.wrong_signatory"
        )
        garbled = {**signed(body), "X-CH-Timestamp-NS": "soon"}
        refused(await facilitator.call("POST", path, body, garbled), "signature.malformed")
        not_base64 = {**signed(body), "X-CH-Signature": "%%%"}
        refused(await facilitator.call("POST", path, body, not_base64), "signature.invalid")


async def test_the_same_signature_with_another_signed_body_is_refused(facilitator: Facilitator) -> None:
    async with linked(facilitator):
        body = job_body()
        headers = signed(body)
        await facilitator.call("POST", "/api/v1/job-docker/", body, headers)
        changed = job_body(args=["other"])
        refused(await facilitator.call("POST", "/api/v1/job-docker/", changed, headers), "signature.invalid")


@pytest.mark.parametrize(
    "sent",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' + b"[" * 50_000, b'"text"'],
    ids=["empty", "cut", "list", "bytes", "deep", "text"],
)
async def test_a_malformed_body_is_a_400(facilitator: Facilitator, sent: bytes) -> None:
    refused(await facilitator.call("POST", "/api/v1/job-docker/", sent), "body.malformed")


async def test_a_lying_content_encoding_is_a_400(facilitator: Facilitator) -> None:
    headers = {"Content-Encoding": "gzip", **signed(job_body())}
    refused(await facilitator.call("POST", "/api/v1/job-docker/", job_body(), headers), "body.malformed")


async def test_an_oversized_body_is_refused(facilitator: Facilitator) -> None:
    sent = b" " * (facilitator.settings.max_body_bytes + 1)
    refused(await facilitator.call("POST", "/api/v1/job-docker/", sent), "body.too_large")


async def test_any_unusable_token_makes_stock_clients_log_in_again(facilitator: Facilitator) -> None:
    good = await facilitator.token()
    for token in ("", "x", "a.b", good[:-1] + ("0" if good[-1] != "0" else "1")):
        answer = await facilitator.send("GET", "/api/v1/jobs/", None, {"Authorization": f"Bearer {token}"})
        refused(answer, "auth.token_expired")
        assert "Token expired" in answer[1]["detail"]
    refused(await facilitator.send("GET", "/api/v1/jobs/", None, {}), "auth.missing")


async def test_a_nonce_serves_one_login_but_an_identical_retry_gets_the_same_token(
    facilitator: Facilitator,
) -> None:
    _, nonce = await facilitator.send("GET", "/auth/nonce", None, {})
    login = login_body(USER, nonce["nonce"])
    _, first = await facilitator.send("POST", "/auth/login", login, {})
    _, retry = await facilitator.send("POST", "/auth/login", login, {})
    assert first == retry
    refused(
        await facilitator.send("POST", "/auth/login", login_body(STRANGER, nonce["nonce"]), {}),
        "auth.nonce_invalid",
    )
    wrong = {**login_body(USER, nonce["nonce"]), "signature": "00" * 64}
    refused(await facilitator.send("POST", "/auth/login", wrong, {}), "auth.signature_invalid")
    forged = login_body(USER, "0" * 32 + ":1900000000:" + "0" * 64)
    refused(await facilitator.send("POST", "/auth/login", forged, {}), "auth.nonce_invalid")
    refused(await facilitator.send("POST", "/auth/login", {"hotkey": USER.hotkey}, {}), "auth.malformed")


async def test_only_listed_hotkeys_may_submit(tmp_path: Path) -> None:
    async with serving(tmp_path, allow_unlisted_hotkeys=False) as facilitator:
        _, nonce = await facilitator.send("GET", "/auth/nonce", None, {})
        answer = await facilitator.send("POST", "/auth/login", login_body(USER, nonce["nonce"]), {})
        refused(answer, "auth.hotkey_not_allowed")


async def test_jobs_of_others_are_not_found(facilitator: Facilitator) -> None:
    async with linked(facilitator):
        _, job = await facilitator.submit(job_body())
    for path in (f"/api/v1/jobs/{job['uuid']}/", f"/api/v1/jobs/{job['uuid']}/events"):
        refused(await facilitator.call("GET", path, signer=STRANGER), "job.not_found")
    refused(await facilitator.call("GET", "/api/v1/jobs/no-such-job/"), "job.not_found")


async def test_pages_are_newest_first_and_end_with_a_404(facilitator: Facilitator) -> None:
    async with linked(facilitator):
        uuids = [
            (await facilitator.submit(job_body(tag="even" if n % 2 == 0 else "odd")))[1]["uuid"]
            for n in range(5)
        ]
    _, first = await facilitator.call("GET", "/api/v1/jobs/?page_size=3")
    _, second = await facilitator.call("GET", "/api/v1/jobs/?page=2&page_size=3")
    assert [job["uuid"] for job in first["results"] + second["results"]] == uuids[::-1]
    assert (first["count"], bool(first["next"]), second["next"]) == (5, True, None)
    refused(await facilitator.call("GET", "/api/v1/jobs/?page=3&page_size=3"), "page.invalid")
    refused(await facilitator.call("GET", "/api/v1/jobs/?page=zero"), "page.invalid")
    _, even = await facilitator.call("GET", "/api/v1/jobs/?tag=even")
    assert even["count"] == 3
    _, one = await facilitator.call("GET", f"/api/v1/jobs/?uuid={uuids[0]}&uuid={uuids[1]}")
    assert one["count"] == 2


async def test_the_event_stream_sends_history_then_changes_and_resumes(facilitator: Facilitator) -> None:
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
        await validator.status(job["uuid"], "received")
        url = f"{facilitator.base}/api/v1/jobs/{job['uuid']}/events"
        headers = {"Authorization": f"Bearer {await facilitator.token()}"}
        async with facilitator.http.get(url, headers=headers) as reply:
            assert await next_event(reply) == ("0", "sent")
            assert await next_event(reply) == ("1", "received")
            await validator.status(job["uuid"], "accepted")
            assert await next_event(reply) == ("2", "accepted")
        await validator.status(job["uuid"], "completed", DONE)
        async with facilitator.http.get(url, headers={**headers, "Last-Event-ID": "2"}) as reply:
            assert await next_event(reply) == ("3", "completed")
            assert await reply.content.read() == b""
        async with facilitator.http.get(url, headers={**headers, "Last-Event-ID": "3"}) as reply:
            assert await reply.content.read() == b""


async def next_event(reply: Any) -> tuple[str, str]:
    number = (await reply.content.readline()).decode().removeprefix("id: ").strip()
    assert (await reply.content.readline()) == b"event: status\n"
    entry = json.loads((await reply.content.readline()).decode().removeprefix("data: "))
    await reply.content.readline()
    return number, entry["status"]


async def test_failure_output_is_shown_to_the_user(facilitator: Facilitator) -> None:
    details = {
        "reason": "nonzero_return_code",
        "stage": "execution",
        "message": "exit 3",
        "docker_process_exit_status": 3,
        "docker_process_stdout": "so far\n",
        "docker_process_stderr": "",
    }
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
        await validator.status(job["uuid"], "failed", {"job_failure_details": details})
    _, job = await facilitator.call("GET", f"/api/v1/jobs/{job['uuid']}/")
    assert (job["status"], job["stdout"]) == ("Failed", "so far\n")


async def test_a_job_that_nobody_ends_is_ended_by_its_deadline(
    tmp_path: Path, facilitator: Facilitator
) -> None:
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
    with contextlib.closing(sqlite3.connect(tmp_path / "facilitator.sqlite3", timeout=10)) as database:
        database.execute("UPDATE jobs SET deadline_at = '2026-01-01 00:00:00.000000'")
        database.commit()

    async def cause() -> str | None:
        _, shown = await facilitator.call("GET", f"/api/v1/jobs/{job['uuid']}/")
        details = shown["status_history"][-1]["metadata"].get("horde_failure_details")
        return details["context"]["cause"] if details else None

    assert await eventually(cause) == "deadline_passed"


async def test_a_cancel_is_answered_by_the_validator(facilitator: Facilitator) -> None:
    async with linked(facilitator, extensions=frozenset({Extension.CANCEL})) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
        await validator.status(job["uuid"], "received")
        for accepted, code in ((False, "job.cancel_unsupported"), (True, None)):
            asked = asyncio.create_task(facilitator.call("DELETE", f"/api/v1/jobs/{job['uuid']}/"))
            frame = await validator.frame()
            assert (frame["message_type"], frame["uuid"]) == ("HordeCancelJob", job["uuid"])
            answer = {
                "message_type": "HordeCancelResult",
                "uuid": job["uuid"],
                "accepted": accepted,
                "message": "why",
            }
            await validator.socket.send_str(json.dumps(answer))
            status, shown = await asked
            assert (shown.get("code"), status) == (code, 409 if code else 200)


async def test_a_job_at_a_stock_validator_cannot_be_cancelled(facilitator: Facilitator) -> None:
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        await validator.frame()
        refused(await facilitator.call("DELETE", f"/api/v1/jobs/{job['uuid']}/"), "job.cancel_unsupported")
        await validator.status(job["uuid"], "completed", DONE)
        refused(await facilitator.call("DELETE", f"/api/v1/jobs/{job['uuid']}/"), "job.already_final")


async def test_a_cheat_report_is_taken_once_and_reaches_the_validator(facilitator: Facilitator) -> None:
    async with linked(facilitator) as validator:
        _, job = await facilitator.submit(job_body())
        _, trusted = await facilitator.submit(job_body(on_trusted_miner=True))
        await validator.frame()
        await validator.frame()
        report = {"job_uuid": job["uuid"], "trusted_job_uuid": trusted["uuid"], "details": None}
        path = "/api/v1/cheated-job/"
        status, answer = await facilitator.call("POST", path, report, signed_whole(report))
        assert (status, answer) == (201, {"message": "Job reported as cheated"})
        frame = await validator.frame()
        assert (frame["message_type"], frame["job_uuid"], frame["details"]) == (
            "V0JobCheated",
            job["uuid"],
            None,
        )
        refused(await facilitator.call("POST", path, report, signed_whole(report)), "report.exists")
        turned = {**report, "job_uuid": trusted["uuid"]}
        refused(await facilitator.call("POST", path, turned, signed_whole(turned)), "job.not_found")
        refused(await facilitator.call("POST", path, report, signed_whole(turned)), "signature.invalid")


async def test_feedback_is_given_once(facilitator: Facilitator) -> None:
    async with linked(facilitator):
        _, job = await facilitator.submit(job_body())
    path = f"/api/v1/jobs/{job['uuid']}/feedback/"
    body = {"result_correctness": 0.5, "expected_duration": 3.0}
    assert await facilitator.call("PUT", path, body, signed_whole(body)) == (201, body)
    assert await facilitator.call("GET", path) == (200, body)
    refused(await facilitator.call("POST", path, body, signed_whole(body)), "feedback.exists")
    wrong = {"result_correctness": 2}
    refused(await facilitator.call("PUT", path, wrong, signed_whole(wrong)), "job.invalid")
    refused(await facilitator.call("PUT", path, body), "signature.missing")


async def test_peers_that_are_refused_again_and_again_must_wait(tmp_path: Path) -> None:
    async with serving(tmp_path, refusals_per_minute=3) as facilitator:
        for _ in range(3):
            refused(await facilitator.call("GET", "/api/v1/jobs/nothing/"), "job.not_found")
        refused(await facilitator.call("GET", "/api/v1/jobs/"), "peer.slow_down")


async def test_a_job_without_a_wanted_validator_goes_to_one_that_is_live(facilitator: Facilitator) -> None:
    async with linked(facilitator, OTHER_VALIDATOR) as validator:
        status, job = await facilitator.submit(job_body(target_validator_hotkey=None))
        assert (status, (await validator.frame())["uuid"]) == (201, job["uuid"])
    refused(await facilitator.submit(job_body(target_validator_hotkey=None)), "validator.not_available")


async def test_unknown_paths_and_methods_have_the_same_error_shape(facilitator: Facilitator) -> None:
    refused(await facilitator.call("GET", "/api/v1/nothing/"), "request.not_found")
    refused(await facilitator.call("PUT", "/api/v1/jobs/"), "request.method")
