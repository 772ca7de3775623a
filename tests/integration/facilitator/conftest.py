"""A facilitator with a real store and real sockets, and a validator that a test drives frame by frame."""

import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from horde_agents.agents.facilitator.app import running_facilitator
from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.protocol.extensions import EXTENSIONS_HEADER, Extension
from horde_agents.protocol.facilitator_validator import CHALLENGE_HEADER
from horde_agents.protocol.signed_fields import (
    Scope,
    full_request_payload,
    sign_payload,
    signed_fields_payload,
    signed_view,
)
from horde_agents.protocol.signing import KeypairSigner, to_hex

USER = KeypairSigner.from_uri("//User")
STRANGER = KeypairSigner.from_uri("//Stranger")
VALIDATOR = KeypairSigner.from_uri("//Validator")
OTHER_VALIDATOR = KeypairSigner.from_uri("//OtherValidator")


@dataclass
class Facilitator:
    """A facilitator and plain HTTP access to it."""

    base: str
    settings: FacilitatorSettings
    http: aiohttp.ClientSession
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, signer: KeypairSigner = USER) -> str:
        if signer.hotkey not in self.tokens:
            status, nonce = await self.send("GET", "/auth/nonce", None, {})
            assert status == 200
            login = login_body(signer, nonce["nonce"])
            status, answer = await self.send("POST", "/auth/login", login, {})
            assert status == 200, answer
            self.tokens[signer.hotkey] = answer["token"]
        return self.tokens[signer.hotkey]

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        signer: KeypairSigner = USER,
    ) -> tuple[int, Any]:
        authorization = {"Authorization": f"Bearer {await self.token(signer)}"}
        return await self.send(method, path, body, {**authorization, **(headers or {})})

    async def send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        data = None if raw is None else io.BytesIO(raw)
        async with self.http.request(method, self.base + path, data=data, headers=headers) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if text else None

    async def submit(self, body: dict[str, Any], signer: KeypairSigner = USER) -> tuple[int, Any]:
        return await self.call("POST", "/api/v1/job-docker/", body, signed(body, signer), signer)


def login_body(signer: KeypairSigner, nonce: str) -> dict[str, str]:
    return {"hotkey": signer.hotkey, "nonce": nonce, "signature": signer.sign(nonce.encode()).hex()}


def signed(body: dict[str, Any], signer: KeypairSigner = USER, age_s: float = 0) -> dict[str, str]:
    payload = signed_fields_payload(signed_view(body))
    return sign_payload(signer, payload, time.time_ns() - int(age_s * 1e9), Scope.SIGNED_FIELDS).as_headers()


def signed_whole(body: dict[str, Any], signer: KeypairSigner = USER) -> dict[str, str]:
    return sign_payload(signer, full_request_payload(body), time.time_ns(), Scope.FULL_REQUEST).as_headers()


def job_body(**more: Any) -> dict[str, Any]:
    return {
        "target_validator_hotkey": VALIDATOR.hotkey,
        "executor_class": "always_on.test",
        "docker_image": "alpine",
        "job_namespace": "SN1.0",
        "args": [" ünïcode\n", ""],
        "env": {"B": "2", "A": "1"},
        "use_gpu": True,
        "artifacts_dir": None,
        "on_trusted_miner": False,
        "download_time_limit": 5,
        "execution_time_limit": 6,
        "streaming_start_time_limit": 5,
        "upload_time_limit": 7,
        **more,
    }


@dataclass
class Validator:
    """One link; the test sends and receives its frames."""

    socket: aiohttp.ClientWebSocketResponse

    async def frame(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(await self.socket.receive_str(timeout=10))
        return value

    async def say(self, **frame: Any) -> dict[str, Any]:
        await self.socket.send_str(json.dumps(frame))
        return await self.frame()

    async def status(self, uuid: str, status: str, metadata: Any = None) -> dict[str, Any]:
        return await self.say(message_type="V0JobStatusUpdate", uuid=uuid, status=status, metadata=metadata)


@asynccontextmanager
async def linked(
    facilitator: Facilitator,
    signer: KeypairSigner = VALIDATOR,
    extensions: frozenset[Extension] = frozenset(),
) -> AsyncIterator[Validator]:
    headers = {EXTENSIONS_HEADER: ",".join(extensions)} if extensions else {}
    async with facilitator.http.ws_connect(f"{facilitator.base}/ws/v0/", headers=headers) as socket:
        validator = Validator(socket)
        key = signer.public_key
        hello = {
            "message_type": "V0AuthenticationRequest",
            "public_key": key.hex(),
            "signature": to_hex(signer.sign(key)),
        }
        if Extension.CHALLENGE in extensions:
            challenge = socket._response.headers[CHALLENGE_HEADER]
            hello["challenge_signature"] = to_hex(signer.sign(challenge.encode()))
        assert (await validator.say(**hello))["status"] == "success"
        yield validator


@asynccontextmanager
async def serving(tmp_path: Path, **more: Any) -> AsyncIterator[Facilitator]:
    values = {
        "database_url": f"sqlite:///{tmp_path}/facilitator.sqlite3",
        "host": "127.0.0.1",
        "port": 0,
        "operator_port": 0,
        "allowed_validators": [VALIDATOR.hotkey, OTHER_VALIDATOR.hotkey],
        "allow_unlisted_hotkeys": True,
    }
    settings = FacilitatorSettings.model_validate(values | more)
    async with running_facilitator(settings) as running, aiohttp.ClientSession() as http:
        yield Facilitator(f"http://127.0.0.1:{running.port}", settings, http)


@pytest.fixture
async def facilitator(tmp_path: Path) -> AsyncIterator[Facilitator]:
    async with serving(tmp_path) as running:
        yield running
