"""A horde at the protocol level: real miners over a real Consul, holders that are WebSocket clients.

A simulated holder has the product's TLS, token and frames, and does a job in no time. All that is asked of
a process goes over its pipe (``beside``).
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import aiohttp

from horde_agents.agents.miner.app import running_miner
from horde_agents.agents.miner.pool import PoolLink
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.miner.tokens import SlotToken, issue
from horde_agents.cli.cluster import programs
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.placement.coordination import MAX_CHANGES, Put
from horde_agents.placement.records import Keys, Slot, SlotState, as_json
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.frames import render
from horde_agents.protocol.miner_address import MinerAddress
from horde_agents.protocol.miner_executor import PATH, HordeExecutorHello
from horde_agents.testing.consul_server import ConsulServer
from horde_agents.testing.wallets import hotkey_file
from tests.bench.beside import Beside, beside, heard

HORDE: Final = "bench"
CLASS: Final = "always_on.test"
_AT_ONCE: Final = 32
_LIFE_S: Final = 3600
_ADDRESSES: list[str] = []


@dataclass(frozen=True, slots=True)
class SimMiner:
    """A miner in a process of its own; ``address`` is where it takes executors in."""

    hotkey: str
    port: int
    address: str
    process: Beside


@dataclass(frozen=True, slots=True)
class Moved:
    """One slot's way to another miner: when it was told to go, and when it was in service again."""

    told_s: float
    welcome_s: float


class NoHolders:
    """The pool of a miner whose holders come from elsewhere."""

    outlives_miner = True

    def __init__(self, _settings: MinerSettings) -> None:
        _ADDRESSES.clear()

    def slots(self) -> Mapping[str, str]:
        return {}

    @asynccontextmanager
    async def running(self, link: PoolLink) -> AsyncIterator[None]:
        assert link.horde is not None
        _ADDRESSES.append(link.horde.address)
        yield


@contextmanager
def consul(folder: Path) -> Iterator[str]:
    """One server's URL."""
    server = ConsulServer(programs()["consul"], folder / "consul")
    server.start()
    try:
        server.wait_ready()
        yield server.url
    finally:
        server.process.stop()


@contextmanager
def sim_miners(folder: Path, url: str, names: Sequence[str], **more: Any) -> Iterator[list[SimMiner]]:
    """Miners that share slots in Consul, without a chain."""
    secret = folder / "secret"
    secret.write_text("bench")
    secret.chmod(0o600)
    with ExitStack() as stack:
        found = []
        for name in names:
            path, signer = hotkey_file(folder, name)
            settings = {
                "hotkey_file": path,
                "database_url": f"sqlite:///{folder}/{name}.sqlite3",
                "data_dir": folder / name,
                "host": "127.0.0.1",
                "port": 0,
                "executor_port": 0,
                "operator_port": 0,
                "horde": HORDE,
                "horde_secret_file": secret,
                "consul_urls": [url],
                "pool": "tests.bench.horde_sim:NoHolders",
                "drain_s": 0.1,
                **more,
            }
            process = stack.enter_context(beside(_serve_miner, settings))
            port, address = process.answer()
            found.append(SimMiner(signer.hotkey, port, address, process))
        yield found


@contextmanager
def sim_holders(folder: Path, addresses: Mapping[str, str], run_s: float = 0.0) -> Iterator[Beside]:
    """Holders in one process, each at the miner whose address it is given; ready when all are in service.

    A job takes ``run_s`` seconds. Asked for ``"moves"``, it answers the list of ``Moved`` since it was asked
    last; ``"arrivals"`` the instants (monotonic seconds) at which job requests have come since;
    ``"connections"`` their number ever.
    """
    secret = hashlib.sha256((folder / "secret").read_bytes().strip()).digest()
    expires_at = int(time.time()) + _LIFE_S
    given = {
        slot_id: (address, issue(SlotToken(slot_id, CLASS, expires_at), secret))
        for slot_id, address in addresses.items()
    }
    with beside(_serve_holders, given, run_s) as process:
        assert process.answer() == len(addresses)
        yield process


def slots(count: int, owners: Sequence[str]) -> list[Slot]:
    """Records of slots that are in service, dealt out to ``owners``."""
    return [
        Slot(
            f"node-{number // 8}:cpu-{number}",
            CLASS,
            f"node-{number // 8}",
            owner=owners[number % len(owners)],
            epoch=1,
            state=SlotState.READY,
        )
        for number in range(count)
    ]


async def record(store: ConsulCoordination, records: Sequence[Slot]) -> None:
    """Write new records, as a keeper does."""
    keys = Keys(HORDE)
    changes = [Put(keys.slot(slot.slot_id), as_json(slot), 0) for slot in records]
    for start in range(0, len(changes), MAX_CHANGES):
        assert await store.commit(changes[start : start + MAX_CHANGES])


@asynccontextmanager
async def consul_store(url: str) -> AsyncIterator[ConsulCoordination]:
    """An operator's own way to the shared store."""
    store = ConsulCoordination(ClusterAddress((url,)))
    try:
        yield store
    finally:
        await store.close()


async def _serve_miner(pipe: Connection, settings: dict[str, Any]) -> None:
    async with running_miner(MinerSettings(**settings)) as running:
        pipe.send((running.port, _ADDRESSES[0]))
        await heard(pipe)


async def _serve_holders(pipe: Connection, given: Mapping[str, tuple[str, str]], run_s: float) -> None:
    holders = [SimHolder(slot_id, *rest, run_s) for slot_id, rest in given.items()]
    room = asyncio.Semaphore(_AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(holder.live(session, room)) for holder in holders]
        for holder in holders:
            await holder.in_service.wait()
        pipe.send(len(holders))
        while (question := await heard(pipe)) is not None:
            if question == "moves":
                pipe.send([moved for holder in holders for moved in holder.moves])
                for holder in holders:
                    holder.moves.clear()
            elif question == "arrivals":
                pipe.send([at_s for holder in holders for at_s in holder.arrivals])
                for holder in holders:
                    holder.arrivals.clear()
            else:
                pipe.send(sum(holder.connections for holder in holders))
        for task in tasks:
            task.cancel()


@dataclass(slots=True, eq=False)
class SimHolder:
    """One slot's holder and its executors, one after another."""

    slot_id: str
    address: str
    token: str
    run_s: float = 0.0
    epoch: int = 0
    connections: int = 0
    moves: list[Moved] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    in_service: asyncio.Event = field(default_factory=asyncio.Event)
    _told_s: float = 0.0

    async def live(self, session: aiohttp.ClientSession, room: asyncio.Semaphore) -> None:
        """Be connected for ever; ``room`` bounds how many come for the first time at once."""
        async with room:
            first = asyncio.create_task(self._stay(session))
            await self.in_service.wait()
        await first

    async def _stay(self, session: aiohttp.ClientSession) -> None:
        while True:
            try:
                await self._connection(session)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)

    async def _connection(self, session: aiohttp.ClientSession) -> None:
        miner = MinerAddress.read(self.address)
        self.connections += 1
        async with session.ws_connect(
            f"wss://{miner.host_and_port}{PATH}",
            ssl=aiohttp.Fingerprint(miner.certificate_sha256),
            headers={"Authorization": f"Bearer {self.token}"},
            heartbeat=20.0,
        ) as socket:
            hello = HordeExecutorHello(
                slot_id=self.slot_id, executor_class=CLASS, pid=os.getpid(), placement_epoch=self.epoch
            )
            await socket.send_str(render(hello))
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT or not await self._take(socket, message.data):
                    return

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, text: str) -> bool:
        """False when this connection is over."""
        at_s = time.monotonic()
        frame = json.loads(text)
        match frame["message_type"]:
            case "HordeWelcome":
                self._welcome()
            case "HordeGoTo":
                self.address, self.epoch = frame["address"], frame["placement_epoch"]
                self._told_s = self._told_s or time.monotonic()
                return False
            case "V0InitialJobRequest":
                await socket.send_str(render(frames.V0ExecutorReadyRequest(job_uuid=frame["job_uuid"])))
            case "V0JobRequest":
                self.arrivals.append(at_s)
                if self.run_s:  # not now: one process stands for hundreds of machines here
                    await asyncio.sleep(self.run_s)
                await self._run(socket, frame)
            case _:  # HordeAck: its job is over; GenericError: it was refused
                return False
        return True

    def _welcome(self) -> None:
        if self._told_s:
            self.moves.append(Moved(self._told_s, time.monotonic()))
            self._told_s = 0.0
        self.in_service.set()

    async def _run(self, socket: aiohttp.ClientWebSocketResponse, request: Mapping[str, Any]) -> None:
        """Report a job as done; it prints the digest of what it was given, if it was given something."""
        uuid, text = request["job_uuid"], request["env"].get("TEXT")
        stdout = hashlib.sha256(text.encode()).hexdigest() if text else ""
        finished = frames.V0JobFinishedRequest(
            job_uuid=uuid, docker_process_stdout=stdout, docker_process_stderr=""
        )
        for report in (
            frames.V0VolumesReadyRequest(job_uuid=uuid),
            frames.V0ExecutionDoneRequest(job_uuid=uuid),
            finished,
        ):
            await socket.send_str(render(report))
