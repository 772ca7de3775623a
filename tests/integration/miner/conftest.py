"""A miner with a real store and real sockets; validators and executors that a test drives frame by frame."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from horde_agents.agents.miner.app import RunningMiner, running_miner
from horde_agents.agents.miner.pool import HolderPlan, PoolLink
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.protocol.extensions import render_extensions
from horde_agents.protocol.frames import render
from horde_agents.protocol.job_frames import ExecutorTiming, V0InitialJobRequest
from horde_agents.protocol.miner_executor import PATH
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY, Hotkey, KeypairSigner, to_hex
from horde_agents.protocol.validator_miner import render_signed, sign_auth
from horde_agents.receipts.payloads import JobStarted, Payload, payload_object, signed_text
from horde_agents.testing.wallets import hotkey_file

VALIDATOR = KeypairSigner.from_uri("//Validator")
OTHER = KeypairSigner.from_uri("//OtherValidator")
STRANGER = KeypairSigner.from_uri("//Stranger")
CLASS = "always_on.test"
PLANS: list[HolderPlan] = []


class ScriptedPool:
    """One slot whose executor is the test itself."""

    outlives_miner = False

    def __init__(self, _settings: MinerSettings) -> None:
        PLANS.clear()

    def slots(self) -> Mapping[str, str]:
        return {"node:cpu-0": CLASS}

    @asynccontextmanager
    async def running(self, link: PoolLink) -> AsyncIterator[None]:
        PLANS.append(link.plan("node:cpu-0", CLASS))
        yield


@dataclass
class Miner:
    """A running miner and ways to talk to it."""

    running: RunningMiner
    http: aiohttp.ClientSession
    hotkey: Hotkey
    settings: MinerSettings

    @property
    def base(self) -> str:
        return f"127.0.0.1:{self.running.port}"

    @asynccontextmanager
    async def raw(self, path_hotkey: str = VALIDATOR.hotkey) -> AsyncIterator["Peer"]:
        url = f"ws://{self.base}/v0.1/validator_interface/{path_hotkey}"
        async with self.http.ws_connect(url) as socket:
            yield Peer(socket)

    @asynccontextmanager
    async def validator(
        self, signer: KeypairSigner = VALIDATOR, *, is_ours: bool = False
    ) -> AsyncIterator["Peer"]:
        async with self.raw(signer.hotkey) as peer:
            extensions = render_extensions() if is_ours else []
            name = TRUSTED_MINER_HOTKEY if self.settings.trusted_by else self.hotkey
            auth = sign_auth(signer, name, int(time.time()), extensions)
            await peer.send(render(auth))
            manifest = await peer.frame()
            assert manifest["message_type"] == "V0ExecutorManifestRequest", manifest
            peer.manifest = manifest
            yield peer

    @asynccontextmanager
    async def executor(
        self, running_job_uuid: str | None = None, token: str | None = None
    ) -> AsyncIterator["Peer"]:
        plan = PLANS[0]
        trust = aiohttp.Fingerprint(plan.miner.certificate_sha256)
        headers = {"Authorization": f"Bearer {token or plan.token}"}
        async with self.http.ws_connect(
            f"wss://{plan.miner.host_and_port}{PATH}", ssl=trust, headers=headers
        ) as socket:
            peer = Peer(socket)
            hello = {
                "slot_id": plan.slot_id,
                "executor_class": CLASS,
                "pid": 1,
                "running_job_uuid": running_job_uuid,
            }
            await peer.say(message_type="HordeExecutorHello", **hello)
            assert (await peer.frame())["message_type"] == "HordeWelcome"
            yield peer


@dataclass
class Peer:
    """One connection."""

    socket: aiohttp.ClientWebSocketResponse
    manifest: dict[str, Any] = field(default_factory=dict)

    async def send(self, text: str) -> None:
        await self.socket.send_str(text)

    async def say(self, **frame: Any) -> None:
        await self.send(json.dumps(frame))

    async def frame(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(await self.socket.receive_str(timeout=10))
        return value

    async def expect(self, message_type: str) -> dict[str, Any]:
        frame = await self.frame()
        assert frame["message_type"] == message_type, frame
        return frame


@asynccontextmanager
async def serving(tmp_path: Path, **more: Any) -> AsyncIterator[Miner]:
    path, signer = tmp_path / "miner.hotkey", None
    if not path.exists():
        path, signer = hotkey_file(tmp_path, "miner")
    signer = KeypairSigner.from_hotkey_file(path)
    settings = MinerSettings(
        hotkey_file=path,
        database_url=f"sqlite:///{tmp_path}/miner.sqlite3",
        data_dir=tmp_path / "data",
        host="127.0.0.1",
        port=0,
        executor_port=0,
        operator_port=0,
        pool="tests.integration.miner.conftest:ScriptedPool",
        drain_s=0.2,
        **{"allowed_validators": [VALIDATOR.hotkey, OTHER.hotkey], "reconnect_grace_s": 0.5, **more},
    )
    async with running_miner(settings) as running, aiohttp.ClientSession() as http:
        yield Miner(running, http, signer.hotkey, settings)


@pytest.fixture
async def miner(tmp_path: Path) -> AsyncIterator[Miner]:
    async with serving(tmp_path) as running:
        yield running


def new_uuid() -> str:
    return str(uuid4())


def started(miner: Miner, uuid: str, signer: KeypairSigner = VALIDATOR, **change: Any) -> JobStarted:
    known = {
        "job_uuid": uuid,
        "miner_hotkey": miner.hotkey,
        "validator_hotkey": signer.hotkey,
        "timestamp": datetime.now(UTC),
        "executor_class": CLASS,
        "is_organic": True,
        "ttl": 7,
    }
    return JobStarted(**{**known, **change})


def offer(receipt: JobStarted, signer: KeypairSigner = VALIDATOR, **change: Any) -> V0InitialJobRequest:
    frame = V0InitialJobRequest(
        job_uuid=receipt.job_uuid,
        executor_class=CLASS,
        docker_image="alpine",
        timeout_seconds=300,
        job_started_receipt_payload=payload_object(receipt),
        job_started_receipt_signature=to_hex(signer.sign(signed_text(receipt))),
        executor_timing=ExecutorTiming(
            allowed_leeway=5,
            download_time_limit=5,
            execution_time_limit=5,
            upload_time_limit=5,
            streaming_start_time_limit=0,
        ),
    )
    return frame.model_copy(update=change)


def signed_offer(miner: Miner, uuid: str, signer: KeypairSigner = VALIDATOR) -> str:
    return render_signed(offer(started(miner, uuid, signer), signer), signer)


def receipt_frame(payload: Payload, message_type: str, signer: KeypairSigner = VALIDATOR) -> dict[str, Any]:
    signature = to_hex(signer.sign(signed_text(payload)))
    return {"message_type": message_type, "payload": payload_object(payload), "signature": signature}


async def pages(miner: Miner) -> list[dict[str, Any]]:
    """Everything on the newest two receipt pages."""
    found: list[dict[str, Any]] = []
    now = int(time.time()) // 300
    for page in (now - 1, now):
        async with miner.http.get(f"http://{miner.base}/receipts/{page}.jsonl") as reply:
            if reply.status == 200:
                found += [json.loads(line) for line in (await reply.text()).splitlines()]
    return found
