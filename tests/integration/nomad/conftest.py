"""Whole miners whose holders a real Nomad starts, placement in a real Consul, jobs in real containers."""

import asyncio
import gc
import getpass
import json
import os
import secrets
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from structlog.testing import capture_logs

from horde_agents.agents.miner.app import running_miner
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.clients.nomad import Nomad
from horde_agents.clients.nomad_rows import Allocation, Child
from horde_agents.placement.coordination import Put
from horde_agents.placement.records import HordeState, Keys, PoolWish, Slot, SlotState, as_json, read_state
from horde_agents.protocol.frames import render
from horde_agents.protocol.job_frames import HordeCancelJob, V0JobRequest
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.protocol.validator_miner import render_signed
from horde_agents.testing.consul_server import ConsulServer
from horde_agents.testing.wallets import hotkey_file
from tests.fixtures.nomad import NomadStage
from tests.fixtures.waiting import eventually
from tests.integration.miner.conftest import OTHER, VALIDATOR, Miner, Peer, new_uuid, offer, started

A6000: Final = "always_on.llm.a6000"
CPU: Final = "always_on.test"
ON_DEMAND: Final = "spin_up-4min.gpu-24gb"
DECLINED: Final = "V0DeclineJobRequest"
FAILED: Final = ("V0JobFailedRequest", "V0HordeFailedRequest")
_FINAL: Final = {"V0JobFinishedRequest", DECLINED, *FAILED}


@dataclass
class Talk:
    """A validator's side of one attempt."""

    peer: Peer
    uuid: str
    executor_class: str
    image: str

    async def begin(self, script: str) -> None:
        """Have the accepted attempt run ``script`` in its container."""
        await self.last("V0ExecutorReadyRequest")
        request = V0JobRequest(
            job_uuid=self.uuid,
            executor_class=self.executor_class,
            docker_image=self.image,
            docker_run_cmd=["sh", "-c", script],
        )
        await self.peer.send(render_signed(request, VALIDATOR))
        await self.last("V0VolumesReadyRequest")

    async def last(self, *message_types: str) -> dict[str, Any]:
        """The first frame of these types, with the patience of a loaded machine."""
        async with asyncio.timeout(100):
            while True:
                frame = await self._next()
                if frame["message_type"] in message_types:
                    return frame
                assert frame["message_type"] not in _FINAL, frame

    async def _next(self) -> dict[str, Any]:
        """The next frame about this attempt; those about others wait until they are asked for."""
        kept: list[dict[str, Any]] = vars(self.peer).setdefault("kept", [])
        ours = next((frame for frame in kept if frame.get("job_uuid") == self.uuid), None)
        if ours is not None:
            kept.remove(ours)
            return ours
        while (frame := json.loads(await self.peer.socket.receive_str())).get("job_uuid") != self.uuid:
            kept.append(frame)
        return dict(frame)

    async def output(self) -> str:
        """What the container printed, once the job has finished."""
        return str((await self.last("V0JobFinishedRequest"))["docker_process_stdout"])

    async def cancel(self) -> None:
        """Take the attempt back."""
        await self.peer.send(render(HordeCancelJob(job_uuid=self.uuid, message="taken back")))


@dataclass
class Horde:
    """One horde on the session's Nomad and Consul, in a namespace of its own."""

    folder: Path
    stage: NomadStage
    nomad: Nomad
    store: ConsulCoordination
    consul_url: str
    image: str
    name: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")

    @property
    def keys(self) -> Keys:
        return Keys(self.name)

    def settings(self, name: str, slots: dict[str, int], **more: Any) -> MinerSettings:
        """A miner's settings."""
        own = self.folder / name
        own.mkdir(exist_ok=True)
        path = own / f"{name}.hotkey"
        if not path.exists():
            path, _ = hotkey_file(own, name)
        holder = {
            "user": getpass.getuser(),
            "command": sys.executable,
            "work_dir": str(self.folder / "slots"),
            "cpu_mhz": 1,
            "holder_memory_mb": 64,
            **more.pop("holder", {}),
        }
        executor = {
            "HORDE_EXECUTOR_ALLOW_PRIVATE_ADDRESSES": "true",
            "HORDE_EXECUTOR_GPUS_ARE_FAKE": "true",
            "HORDE_EXECUTOR_DRAIN_S": "0",
            "HORDE_EXECUTOR_RECONNECT_GRACE_S": "60",
            **more.pop("executor", {}),
        }
        values = {
            "hotkey_file": path,
            "database_url": f"sqlite:///{own}/miner.sqlite3",
            "data_dir": own / "data",
            "host": "127.0.0.1",
            "port": 0,
            "executor_port": 0,
            "operator_port": 0,
            "allowed_validators": [VALIDATOR.hotkey, OTHER.hotkey],
            "pool": "nomad",
            "horde": self.name,
            "slots": slots,
            "nomad_urls": [self.stage.server.url],
            "nomad_namespace": self.nomad.namespace,
            "consul_urls": [self.consul_url],
            "holder_variables": holder,
            "executor_env": executor,
            "drain_s": 0.0,
            "reconnect_grace_s": 300.0,
            "dance": "off",
        }
        return MinerSettings(**values | more)

    @asynccontextmanager
    async def miner(self, slots: dict[str, int], name: str = "miner", **more: Any) -> AsyncIterator[Miner]:
        """A miner of the horde in this process."""
        settings = self.settings(name, slots, **more)
        async with running_miner(settings) as running, aiohttp.ClientSession() as http:
            hotkey = KeypairSigner.from_hotkey_file(settings.hotkey_file).hotkey
            yield Miner(running, http, hotkey, settings)

    async def offered(self, miner: Miner, peer: Peer, executor_class: str, uuid: str = "") -> Talk:
        """An attempt that was offered, or is again after a break; the answer is still to come."""
        uuid = uuid or new_uuid()
        receipt = started(miner, uuid, executor_class=executor_class)
        frame = offer(receipt, executor_class=executor_class, docker_image=self.image)
        assert frame.executor_timing is not None
        timing = frame.executor_timing.model_copy(update={"execution_time_limit": 100})
        await peer.send(render_signed(frame.model_copy(update={"executor_timing": timing}), VALIDATOR))
        return Talk(peer, uuid, executor_class, self.image)

    async def accepted(self, miner: Miner, peer: Peer, executor_class: str) -> Talk:
        """An attempt that was offered and accepted."""
        talk = await self.offered(miner, peer, executor_class)
        await talk.last("V0AcceptJobRequest")
        return talk

    async def state(self) -> HordeState:
        """What Consul has."""
        return read_state(self.keys, await self.store.snapshot(self.keys.prefix))

    async def wish(self, executor_class: str, wish: PoolWish) -> None:
        """Wish as an operator does."""
        assert await self.store.commit([Put(self.keys.pool(executor_class), as_json(wish), None)])

    async def kept(self, executor_class: str) -> list[Slot]:
        """The slots of a class that holders keep."""
        slots = (await self.state()).slots.values()
        return [
            slot
            for slot in slots
            if slot.executor_class == executor_class and slot.state is not SlotState.VACANT and slot.owner
        ]

    async def until_kept(self, executor_class: str, count: int) -> list[Slot]:
        """Wait until as many slots are kept as there shall be."""

        async def there() -> bool:
            return len(await self.kept(executor_class)) == count

        await eventually(there)
        return await self.kept(executor_class)

    async def until_served(self, miner: Miner, executor_class: str, count: int) -> None:
        """Wait until so many executors of the class are connected."""

        async def there() -> bool:
            async with miner.validator(is_ours=True) as peer:
                return bool(peer.manifest["manifest"].get(executor_class, 0) == count)

        await eventually(there)

    async def living(self) -> list[tuple[Child, Allocation]]:
        """The holders that run, once Nomad says of none that it only starts: executors are quicker."""

        async def settled() -> tuple[list[Allocation]] | None:
            rows = await self.nomad.allocations("holder-")
            starting = [row for row in rows if (row.client_status, row.desired_status) == ("pending", "run")]
            return None if starting else (rows,)

        (allocations,) = await eventually(settled)
        children = {child.job_id: child for child in await self.nomad.children("holder-")}
        return [(children[row.job_id], row) for row in allocations if row.client_status == "running"]

    def place(self, child: Child, **changes: str) -> dict[str, str]:
        """The meta of a dispatch like the child's."""
        own = {name: child.meta[name] for name in ("horde", "miners", "index", "generation")}
        return {**own, **changes}

    async def until_replaced(self, before: list[tuple[Child, Allocation]], count: int) -> None:
        """Wait until there are ``count`` living holders, none of them of ``before``."""
        gone = {child.job_id for child, _ in before}

        async def holds() -> bool:
            living = {child.job_id for child, _ in await self.living()}
            return len(living) == count and not gone & living

        await eventually(holds)

    def operator(self, *words: str) -> str:
        """What the ``nomad`` command of an operator says."""
        server = self.stage.server
        env = {**os.environ, "NOMAD_ADDR": server.url, "NOMAD_NAMESPACE": self.nomad.namespace}
        ran = subprocess.run([server.program, *words], env=env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


def kill(allocation_id: str) -> None:
    """End a holder and its executors as a crash does."""
    for pid in _processes_of(allocation_id):
        os.kill(pid, signal.SIGKILL)


def _processes_of(allocation_id: str) -> Iterable[int]:
    mark = f"NOMAD_ALLOC_ID={allocation_id}".encode()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
        except OSError:
            continue


@pytest.fixture(autouse=True)
def cut_handshakes() -> Iterator[None]:
    """A miner that ends while a holder's TLS handshake is under way leaves that to the end of its process."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def horde(
    tmp_path: Path,
    nomad_stage: NomadStage,
    nomad: Nomad,
    consul: ConsulCoordination,
    consul_server: ConsulServer,
    job_image: str,
) -> AsyncIterator[Horde]:
    """A horde without miners yet."""
    (tmp_path / "slots").mkdir()
    yield Horde(tmp_path, nomad_stage, nomad, consul, consul_server.url, job_image)
    _remove_containers(tmp_path)


def _remove_containers(folder: Path) -> None:
    """A killed holder leaves its container to the next one of its slot, which a test may not have."""
    label = f"label=horde.work_dir={folder / 'slots'}"
    listed = subprocess.run(["docker", "ps", "-aq", "--filter", label], capture_output=True, check=True)
    for container in listed.stdout.decode().split():
        subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=True)


@pytest.fixture
def logged() -> Iterator[Callable[[str], bool]]:
    """Whether these words are in a line of the log."""
    with capture_logs() as lines:
        yield lambda words: any(words in str(value) for line in lines for value in line.values())
