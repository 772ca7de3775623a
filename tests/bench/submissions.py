"""Accepted submissions per second at the facilitator, against checking their signatures alone."""

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp

from horde_agents.agents.facilitator.app import running_facilitator
from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.protocol.facilitator_validator import V0AuthenticationRequest
from horde_agents.protocol.frames import render
from horde_agents.protocol.signed_fields import (
    Scope,
    Signature,
    sign_payload,
    signed_fields_payload,
    signed_view,
    verify_payload,
)
from horde_agents.protocol.signing import KeypairSigner, to_hex
from horde_agents.runtime.garbage import settle
from tests.bench.figures import Figure

_COUNT = 1500
_CLIENTS = 24
_USER = KeypairSigner.from_uri("//bench-user")
_VALIDATOR = KeypairSigner.from_uri("//bench-validator")


def submission_figures() -> list[Figure]:
    """The ratio of both rates."""
    requests = [_signed(number) for number in range(_COUNT)]
    checked = _verifications_per_s(requests)
    with tempfile.TemporaryDirectory() as folder, _facilitator(Path(folder)) as port:
        accepted = asyncio.run(_accepted_per_s(port, requests))
    detail = f"{accepted:.0f}/s stored, {checked:.0f}/s signatures checked"
    return [
        Figure(
            "submissions / signature checks alone", accepted / checked, 0.1, "x", at_most=False, detail=detail
        )
    ]


def _signed(number: int) -> tuple[dict[str, Any], Signature]:
    body = {
        "executor_class": "always_on.test",
        "docker_image": "127.0.0.1:5001/horde/job:1",
        "args": ["echo", str(number)],
        "env": {"A": "1"},
        "use_gpu": True,
        "download_time_limit": 5,
        "execution_time_limit": 5,
        "upload_time_limit": 5,
    }
    payload = signed_fields_payload(signed_view(body))
    return body, sign_payload(_USER, payload, time.time_ns() + number, Scope.SIGNED_FIELDS)


def _verifications_per_s(requests: list[tuple[dict[str, Any], Signature]]) -> float:
    begun = time.perf_counter()
    for body, signature in requests:
        assert verify_payload(signature, signed_fields_payload(signed_view(body)))
    return len(requests) / (time.perf_counter() - begun)


@contextmanager
def _facilitator(folder: Path) -> Iterator[int]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(str(folder), theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join(20)


def _serve(folder: str, pipe: Connection) -> None:
    settings = FacilitatorSettings(
        database_url=f"sqlite:///{folder}/f.sqlite3",
        host="127.0.0.1",
        port=0,
        operator_port=0,
        allowed_validators=[_VALIDATOR.hotkey],
        allow_unlisted_hotkeys=True,
    )

    settle()

    async def run() -> None:
        async with running_facilitator(settings) as facilitator:
            pipe.send(facilitator.port)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(run())


async def _accepted_per_s(port: int, requests: list[tuple[dict[str, Any], Signature]]) -> float:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"ws://127.0.0.1:{port}/ws/v0/") as socket:
        key = _VALIDATOR.public_key
        hello = V0AuthenticationRequest(public_key=key.hex(), signature=to_hex(_VALIDATOR.sign(key)))
        await socket.send_str(render(hello))
        assert json.loads(await socket.receive_str())["status"] == "success"
        token = await _login(http, f"http://127.0.0.1:{port}")
        waiting = iter([_posted(body, signature, token) for body, signature in requests])
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(_CLIENTS):
                group.create_task(_client(port, waiting))
        return len(requests) / (time.perf_counter() - begun)


def _posted(body: dict[str, Any], signature: Signature, token: str) -> bytes:
    data = json.dumps(body).encode()
    headers = {"Host": "bench", "Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    headers |= signature.as_headers() | {"Content-Length": str(len(data))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /api/v1/job-docker/ HTTP/1.1\r\n{head}\r\n".encode() + data


async def _client(port: int, waiting: Iterator[bytes]) -> None:
    """One connection; written by hand, because the measuring side must not be the slower one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in waiting:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201"), head
        length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
    writer.close()


async def _login(http: aiohttp.ClientSession, base: str) -> str:
    async with http.get(f"{base}/auth/nonce") as reply:
        nonce = (await reply.json())["nonce"]
    login = {"hotkey": _USER.hotkey, "signature": _USER.sign(nonce.encode()).hex(), "nonce": nonce}
    async with http.post(f"{base}/auth/login", json=login) as reply:
        return str((await reply.json())["token"])
