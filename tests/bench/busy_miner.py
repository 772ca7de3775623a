"""One miner with 300 connected holders: what they weigh there, and how soon offers are answered."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Final
from uuid import uuid4

import aiohttp

from horde_agents.protocol.extensions import render_extensions
from horde_agents.protocol.frames import render
from horde_agents.protocol.job_frames import ExecutorTiming, V0InitialJobRequest, V0JobRequest
from horde_agents.protocol.signing import Hotkey, KeypairSigner, to_hex
from horde_agents.protocol.validator_miner import render_signed, sign_auth
from horde_agents.receipts.payloads import JobStarted, payload_object, signed_text
from tests.bench.figures import Figure
from tests.bench.horde_sim import (
    CLASS,
    SimMiner,
    consul,
    consul_store,
    record,
    sim_holders,
    sim_miners,
    slots,
)
from tests.bench.memory import status_kib

_HOLDERS: Final = 300
_PER_S: Final = 30
_STREAM_S: Final = 8
_SETTLE_S: Final = 1.0
_ONE = KeypairSigner.from_uri("//bench-validator-1")
_OTHER = KeypairSigner.from_uri("//bench-validator-2")


def busy_miner_figures() -> list[Figure]:
    """Weight, then offers one after another, all at once, and to a miner that has no room."""
    with tempfile.TemporaryDirectory() as text, consul(Path(text)) as url, _miner(Path(text), url) as miner:
        asyncio.run(_record(url, miner))
        time.sleep(_SETTLE_S)
        before = status_kib(miner.process.pid, "VmRSS")
        addresses = {slot.slot_id: miner.address for slot in slots(_HOLDERS, [miner.hotkey])}
        with sim_holders(Path(text), addresses):
            time.sleep(_SETTLE_S)
            each = (status_kib(miner.process.pid, "VmRSS") - before) / _HOLDERS
            weight = Figure(f"a connected holder at its miner, of {_HOLDERS}", each, 100, "KiB")
            return [weight, *asyncio.run(_answers(miner))]


async def _record(url: str, miner: SimMiner) -> None:
    async with consul_store(url) as store:
        await record(store, slots(_HOLDERS, [miner.hotkey]))


async def _answers(miner: SimMiner) -> list[Figure]:
    async with _validator(_ONE, miner) as one, _validator(_OTHER, miner) as other:
        stream = await one.offers_each_s(_PER_S, _STREAM_S, runs=True)
        await one.all_over()
        at_once = await one.offers_at_once(_HOLDERS)
        await asyncio.sleep(_SETTLE_S)  # what comes after 300 accepts is no part of a decline
        declined = await other.offers_each_s(_PER_S, _STREAM_S / 2, runs=False)
        assert one.declined == 0, f"{one.declined} offers declined that had room"
        assert other.declined == len(declined), "offers accepted without room"
    goals = (
        (f"accepted at {_PER_S} offers/s, p99", _p99(stream), 0.1),
        (f"declined at {_PER_S} offers/s, p99", _p99(declined), 0.1),
        (f"accepted of {_HOLDERS} offers at once, last", max(at_once), 1.0),
    )
    return [Figure(name, value, goal, "s") for name, value, goal in goals]


@contextmanager
def _miner(folder: Path, url: str) -> Iterator[SimMiner]:
    validators = [_ONE.hotkey, _OTHER.hotkey]
    more = {"allowed_validators": validators, "max_open_attempts": 2 * _HOLDERS}
    with sim_miners(folder, url, ["miner"], **more) as found:
        yield found[0]


@dataclass(slots=True, eq=False)
class _Validator:
    """One validator's connection; ``declined`` counts, ``_asked`` and ``_answered`` are seconds by uuid."""

    signer: KeypairSigner
    miner: SimMiner
    socket: aiohttp.ClientWebSocketResponse
    runs: bool = True
    declined: int = 0
    _asked: dict[str, float] = field(default_factory=dict)
    _answered: dict[str, float] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    async def listen(self) -> None:
        """Take answers, and give job requests while ``runs``."""
        async for message in self.socket:
            frame = json.loads(message.data)
            uuid = frame.get("job_uuid", "")
            match frame["message_type"]:
                case "V0AcceptJobRequest":
                    self._answered[uuid] = time.perf_counter()
                case "V0DeclineJobRequest":
                    self._answered[uuid] = time.perf_counter()
                    self.declined += 1
                    self._open.discard(uuid)
                case "V0ExecutorReadyRequest" if self.runs:
                    request = V0JobRequest(job_uuid=uuid, executor_class=CLASS, docker_image="alpine")
                    await self.socket.send_str(render_signed(request, self.signer))
                case "V0JobFinishedRequest":
                    self._open.discard(uuid)
                case _:
                    continue

    async def offers_each_s(self, per_s: int, seconds: float, *, runs: bool) -> list[float]:
        """Seconds to each answer, of offers one after another."""
        self.runs = runs
        begun = time.perf_counter()
        uuids = []
        for number in range(int(per_s * seconds)):
            await asyncio.sleep(begun + number / per_s - time.perf_counter())
            uuid, text = self._offer()
            uuids.append(uuid)
            await self._send(uuid, text)
        return await self._took(uuids)

    async def offers_at_once(self, count: int) -> list[float]:
        """Seconds to each answer, of ``count`` offers whose jobs then wait for their request."""
        self.runs = False
        offers = [self._offer() for _ in range(count)]
        for uuid, text in offers:
            await self._send(uuid, text)
        return await self._took([uuid for uuid, _ in offers])

    async def all_over(self) -> None:
        """Wait until no job of ours is open."""
        while self._open:
            await asyncio.sleep(0.02)

    async def _send(self, uuid: str, text: str) -> None:
        self._asked[uuid] = time.perf_counter()
        self._open.add(uuid)
        await self.socket.send_str(text)

    async def _took(self, uuids: Sequence[str]) -> list[float]:
        async with asyncio.timeout(30):
            while not all(uuid in self._answered for uuid in uuids):
                await asyncio.sleep(0.02)
        return [self._answered[uuid] - self._asked[uuid] for uuid in uuids]

    def _offer(self) -> tuple[str, str]:
        uuid = str(uuid4())
        receipt = JobStarted(
            job_uuid=uuid,
            miner_hotkey=self.miner.hotkey,
            validator_hotkey=self.signer.hotkey,
            timestamp=datetime.now(UTC),
            executor_class=CLASS,
            is_organic=True,
            ttl=7,
        )
        frame = V0InitialJobRequest(
            job_uuid=uuid,
            executor_class=CLASS,
            docker_image="alpine",
            timeout_seconds=300,
            job_started_receipt_payload=payload_object(receipt),
            job_started_receipt_signature=to_hex(self.signer.sign(signed_text(receipt))),
            executor_timing=ExecutorTiming(
                allowed_leeway=5,
                download_time_limit=5,
                execution_time_limit=5,
                upload_time_limit=5,
                streaming_start_time_limit=0,
            ),
        )
        return uuid, render_signed(frame, self.signer)


@asynccontextmanager
async def _validator(signer: KeypairSigner, miner: SimMiner) -> AsyncIterator[_Validator]:
    url = f"ws://127.0.0.1:{miner.port}/v0.1/validator_interface/{signer.hotkey}"
    async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:
        auth = sign_auth(signer, Hotkey(miner.hotkey), int(time.time()), render_extensions())
        await socket.send_str(render(auth))
        manifest = json.loads(await socket.receive_str())
        assert manifest["manifest"] == {CLASS: _HOLDERS}, manifest
        found = _Validator(signer, miner, socket)
        listening = asyncio.create_task(found.listen())
        yield found
        listening.cancel()


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98]
