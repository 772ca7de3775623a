"""What a stranger may send to the facilitator: every answer is one of the documented refusals, none a 500."""

import asyncio
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from horde_agents.protocol.rest_api import ERRORS
from tests.integration.facilitator.conftest import (
    STRANGER,
    VALIDATOR,
    Facilitator,
    job_body,
    linked,
    login_body,
    serving,
    signed,
    signed_whole,
)

JOBS = "/api/v1/job-docker/"


def refused(answer: tuple[int, Any], code: str) -> None:
    status, body = answer
    assert (body["code"], status) == (code, ERRORS[code][0]), body


@pytest.mark.parametrize(
    "text",
    ['{"nonce": "\\ud800"}', '{"nonce": NaN}', '{"nonce": ' + "[" * 980 + "]" * 980 + "}", "\ufeff{}"],
    ids=["half a character", "not a number", "deep", "mark"],
)
async def test_json_that_breaks_what_comes_after_is_malformed(facilitator: Facilitator, text: str) -> None:
    refused(await facilitator.send("POST", "/auth/login", text.encode(), {}), "body.malformed")
    body = job_body(volumes=[{"volume_type": "inline", "contents": "", "relative_path": None, "more": 0}])
    spoilt = json.dumps(body).replace('"more": 0', f'"more": {text}').encode()
    refused(await facilitator.call("POST", JOBS, spoilt, signed(body)), "body.malformed")


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        ("gzip", b"{}"),
        ("deflate", b"{}"),
        ("br", b"{}"),
        ("zstd", b"{}"),
        ("no-such", b"{}"),
        ("gzip", gzip.compress(b"{}")[:-1]),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}"))),
    ],
)
async def test_a_body_that_is_not_what_its_encoding_says_is_malformed(
    facilitator: Facilitator, encoding: str, sent: bytes
) -> None:
    headers = {"Content-Encoding": encoding, **signed(job_body())}
    refused(await facilitator.call("POST", JOBS, sent, headers), "body.malformed")


async def test_packed_bodies_are_read_and_bombs_are_not(facilitator: Facilitator) -> None:
    body = job_body()
    plain = json.dumps(body).encode()
    async with linked(facilitator):
        for encoding, packed in (("gzip", gzip.compress(plain)), ("deflate", zlib.compress(plain))):
            headers = {"Content-Encoding": encoding, **signed(body)}
            status, _ = await facilitator.call("POST", JOBS, packed, headers)
            assert status == 201
    bomb = gzip.compress(b" " * 50_000_000)
    headers = {"Content-Encoding": "gzip", **signed(body)}
    refused(await facilitator.call("POST", JOBS, bomb, headers), "body.too_large")


async def test_a_token_of_any_bytes_is_only_unusable(facilitator: Facilitator) -> None:
    request = b"GET /api/v1/jobs/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.\xff\xfe\r\n\r\n"
    assert b"auth.token_expired" in await answer_to(facilitator, request)


@pytest.mark.parametrize("stamp", ["9" * 20, "0" * 20 + "9" * 5000, "-1", "\u0661"])
async def test_a_timestamp_that_is_none_is_malformed(facilitator: Facilitator, stamp: str) -> None:
    headers = signed(job_body()) | {"X-CH-Timestamp-NS": stamp}
    refused(await facilitator.call("POST", JOBS, job_body(), headers), "signature.malformed")


async def test_feedback_without_end_is_refused(facilitator: Facilitator) -> None:
    async with linked(facilitator):
        _, job = await facilitator.submit(job_body())
    text = '{"result_correctness": 1, "expected_duration": 1e999}'
    headers = signed_whole(json.loads(text))
    path = f"/api/v1/jobs/{job['uuid']}/feedback/"
    refused(await facilitator.call("PUT", path, text.encode(), headers), "job.invalid")


@pytest.mark.parametrize(
    "change",
    [
        {"args": ["a\0"]},
        {"env": {"A\0": "b"}},
        {"env": {"A": "\0"}},
        {"tag": "\0"},
        {"job_namespace": "\0"},
        {"artifacts_dir": "/\0"},
        {"docker_image": "alpine\n"},
    ],
)
async def test_text_that_no_container_can_have_is_refused(
    facilitator: Facilitator, change: dict[str, Any]
) -> None:
    async with linked(facilitator):
        refused(await facilitator.submit(job_body(**change)), "job.invalid")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_names_with_a_nul_or_without_end_are_not_found(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    where = {"database_url": request.getfixturevalue("postgres_url")} if kind == "postgres" else {}
    async with serving(tmp_path, **where) as facilitator:
        for name in ("%00", "%ff", "a" * 5000):
            refused(await facilitator.call("GET", f"/api/v1/jobs/{name}/"), "job.not_found")
            for key in ("tag", "uuid"):
                status, page = await facilitator.call("GET", f"/api/v1/jobs/?{key}={name}")
                assert (status, page["count"]) == (200, 0)
        async with linked(facilitator) as validator:
            for uuid in ("\0", "a" * 5000):
                answer = await validator.status(uuid, "received")
                assert answer["errors"][0]["type"] == "job.not_found"


async def test_a_validators_frame_of_half_a_character_leaves_its_link_well(facilitator: Facilitator) -> None:
    async with linked(facilitator) as validator:
        for text in ("\ud800", "[" * 500):
            frame = {
                "message_type": "V0JobStatusUpdate",
                "uuid": text,
                "status": "received",
                "metadata": None,
            }
            answer = await validator.say(**frame)
            assert answer["status"] == "error"
        _, job = await facilitator.submit(job_body())
        assert (await validator.frame())["uuid"] == job["uuid"]


async def test_peers_that_say_nothing_or_stop_half_way_are_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path, idle_s=0.3, body_s=0.3) as facilitator:
        for said in (b"", b"GET /auth/nonce HTTP/1.1\r\nHost: x\r\n"):
            assert await answer_to(facilitator, said) == b""
        half = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        assert b"body.too_slow" in await answer_to(facilitator, half)


async def test_a_validator_that_connects_and_says_nothing_is_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path, auth_s=0.3) as facilitator:
        async with facilitator.http.ws_connect(f"{facilitator.base}/ws/v0/") as silent:
            assert (await silent.receive_json(timeout=10))["errors"][0]["type"] == "auth.not_authenticated"
            assert (await silent.receive(timeout=10)).data == 1008
        async with linked(facilitator):
            pass


async def test_one_users_refusals_make_nobody_else_wait(tmp_path: Path) -> None:
    async with serving(tmp_path, refusals_per_minute=3) as facilitator:
        await facilitator.token()
        answers = [await facilitator.call("GET", "/api/v1/jobs/none/", signer=STRANGER) for _ in range(4)]
        refused(answers[-1], "peer.slow_down")
        assert (await facilitator.call("GET", "/api/v1/jobs/"))[0] == 200
        answers = [await facilitator.send("GET", "/auth/none", None, {}) for _ in range(4)]
        refused(answers[-1], "peer.slow_down")
        assert (await facilitator.call("GET", "/api/v1/jobs/"))[0] == 200, "from the same address"
        async with linked(facilitator):
            assert (await facilitator.submit(job_body()))[0] == 201


async def test_a_proxys_users_are_told_apart_and_nobody_elses_word_counts(tmp_path: Path) -> None:
    for proxies, verdict in ((["127.0.0.1"], 200), (["::ffff:127.0.0.1"], 200), ([], 429)):
        async with serving(tmp_path, refusals_per_minute=3, trusted_proxies=proxies) as facilitator:
            for _ in range(3):
                await facilitator.send("GET", "/nothing", None, {"X-Forwarded-For": "1.2.3.4, 5.6.7.8"})
            status, _ = await facilitator.send("GET", "/auth/nonce", None, {"X-Forwarded-For": "9.9.9.9"})
            assert status == verdict
            status, _ = await facilitator.send("GET", "/auth/nonce", None, {"X-Forwarded-For": "5.6.7.8"})
            assert status == 429


async def test_all_addresses_of_an_ipv6_network_are_one_peer(tmp_path: Path) -> None:
    async with serving(tmp_path, refusals_per_minute=3, trusted_proxies=["127.0.0.1"]) as facilitator:

        async def asked(address: str, path: str = "/auth/nonce") -> int:
            status, _ = await facilitator.send("GET", path, None, {"X-Forwarded-For": address})
            return status

        for number in range(3):
            await asked(f"2001:db8:0:7::{number:x}", "/nothing")
        assert await asked("2001:db8:0:7:ffff::1") == 429
        assert await asked("2001:db8:0:8::1") == 200


async def test_a_refused_validator_that_comes_again_is_held_and_one_that_is_served_is_not(
    facilitator: Facilitator,
) -> None:
    key = STRANGER.public_key
    hello = {"message_type": "V0AuthenticationRequest", "public_key": key.hex(), "signature": "0x00"}
    async with facilitator.http.ws_connect(f"{facilitator.base}/ws/v0/") as first:
        await first.send_json(hello)
        assert (await first.receive_json(timeout=5))["errors"][0]["type"] == "auth.validator_not_found"
    async with facilitator.http.ws_connect(f"{facilitator.base}/ws/v0/") as again:
        await again.send_json(hello)
        with pytest.raises(asyncio.TimeoutError):
            await again.receive(timeout=0.5)
        async with linked(facilitator, VALIDATOR):
            pass


async def test_a_first_frame_without_end_is_refused_unread(facilitator: Facilitator) -> None:
    async with facilitator.http.ws_connect(f"{facilitator.base}/ws/v0/") as socket:
        await socket.send_str("[" + "0," * 100_000 + "0]")
        assert (await socket.receive_json(timeout=5))["errors"][0]["type"] == "frame.too_large"


async def test_a_validator_that_takes_nothing_in_keeps_no_user_waiting(facilitator: Facilitator) -> None:
    large = [{"volume_type": "inline", "contents": "A" * 900_000, "relative_path": None}]
    async with linked(facilitator) as validator:
        transport = validator.socket._writer.transport
        transport.pause_reading()
        sent = []
        for number in range(8):  # more than the kernel's buffers hold
            async with asyncio.timeout(5):  # as long as the stock SDK waits
                sent.append(await facilitator.submit(job_body(tag=str(number), volumes=large)))
        assert [status for status, _ in sent] == [201] * 8
        transport.resume_reading()
        assert [(await validator.frame())["uuid"] for _ in sent] == [job["uuid"] for _, job in sent]


async def test_an_identical_login_by_another_hotkey_is_no_login(facilitator: Facilitator) -> None:
    _, nonce = await facilitator.send("GET", "/auth/nonce", None, {})
    stolen = login_body(VALIDATOR, nonce["nonce"]) | {"hotkey": STRANGER.hotkey}
    refused(await facilitator.send("POST", "/auth/login", stolen, {}), "auth.signature_invalid")


async def answer_to(facilitator: Facilitator, said: bytes) -> bytes:
    """Everything the facilitator says to a raw connection until it ends it."""
    host, _, port = facilitator.base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(said)
        async with asyncio.timeout(20):
            return await reader.readuntil(b"}") if b"\r\n\r\n" in said else await reader.read()
    finally:
        writer.close()
