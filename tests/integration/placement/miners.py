"""Whole miners that share slots, and executors at them: the executor's own link, without containers."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp

from horde_agents.agents.executor.address_book import AddressBook
from horde_agents.agents.executor.link import MinerLink
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.miner.app import running_miner
from horde_agents.agents.miner.certificate import ensure_certificate, fingerprint
from horde_agents.agents.miner.tokens import SlotToken, issue
from horde_agents.cli.embedded import write_config
from horde_agents.jobs.events import ExecutorReady, HordeFailed
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import Role
from horde_agents.placement.records import Slot
from horde_agents.protocol.miner_address import MinerAddress
from horde_agents.protocol.miner_executor import PATH
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.testing.server_process import free_ports
from horde_agents.testing.wallets import hotkey_file
from tests.fixtures.waiting import eventually
from tests.integration.miner.conftest import OTHER, VALIDATOR, Miner, Peer
from tests.integration.placement.conftest import CLASS, Shared, miner_settings

SECRET = b"the secret of the horde"


@dataclass
class PlacedMiner(Miner):
    """A miner whose placement is shared; ``address`` is where it takes executors in."""

    address: MinerAddress

    async def offers(self) -> int:
        """How many slots it tells a validator."""
        async with self.validator() as peer:
            return int(peer.manifest["manifest"].get(CLASS, 0))

    async def until_offers(self, count: int) -> None:
        """Wait until it tells validators ``count`` slots."""

        async def check() -> bool:
            return await self.offers() == count

        await eventually(check)


def settings_of(folder: Path, shared: Shared, name: str, **more: Any) -> dict[str, Any]:
    """A miner's settings: a folder and key of its own, the horde's secret, no holders."""
    own = folder / name
    own.mkdir(exist_ok=True)
    path, _ = hotkey_file(own, name)
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    ours = {
        "hotkey_file": path,
        "horde_secret_file": secret,
        "slots": {},
        "allowed_validators": [VALIDATOR.hotkey, OTHER.hotkey],
        "reconnect_grace_s": 2.0,
    }
    return {**miner_settings(own, **shared.settings).model_dump(exclude_unset=True), **ours, **more}


@asynccontextmanager
async def serving(folder: Path, shared: Shared, name: str, **more: Any) -> AsyncIterator[PlacedMiner]:
    """A miner in this process; it leaves in good order when the block ends."""
    settings = miner_settings(folder, **settings_of(folder, shared, name, **more))
    async with running_miner(settings) as running, aiohttp.ClientSession() as http:
        hotkey = KeypairSigner.from_hotkey_file(settings.hotkey_file).hotkey
        certificate = fingerprint(ensure_certificate(settings.data_dir, "127.0.0.1"))
        address = MinerAddress(f"127.0.0.1:{running.executor_port}", certificate)

        async def joined() -> bool:
            return hotkey in (await shared.state()).members

        await eventually(joined)
        yield PlacedMiner(running, http, hotkey, settings, address)


@dataclass
class KillableMiner:
    """A miner in a process of its own."""

    process: Process
    hotkey: str
    address: MinerAddress


@asynccontextmanager
async def killable(folder: Path, shared: Shared, name: str) -> AsyncIterator[KillableMiner]:
    """A miner that a test may kill; it has joined when the block begins."""
    ports = dict(zip(("port", "executor_port", "operator_port"), free_ports(3), strict=True))
    values = settings_of(folder, shared, name, **ports)
    config = folder / name / "miner.toml"
    write_config(config, {key: str(v) if isinstance(v, Path) else v for key, v in values.items()})
    hotkey = KeypairSigner.from_hotkey_file(values["hotkey_file"]).hotkey
    log = (folder / name / "log").open("ab")
    words = (sys.executable, "-m", "horde_agents", "miner", "serve", "--config", str(config))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HORDE_")}
    process = await asyncio.create_subprocess_exec(*words, env=kept, stderr=log)
    try:

        async def joined() -> str:
            member = (await shared.state()).members.get(hotkey)
            return member.address if member else ""

        yield KillableMiner(process, hotkey, MinerAddress.read(await eventually(joined, 60)))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        log.close()


def token_of(slot: Slot, secret: bytes = SECRET, expires_in_s: float = 3600) -> str:
    """What vouches for a slot."""
    vouched = SlotToken(slot.slot_id, slot.executor_class, int(time.time() + expires_in_s))
    return issue(vouched, sha256(secret).digest())


@dataclass
class Executor:
    """The link of one slot's executors: the holder's address book outlives each of them."""

    settings: ExecutorSettings
    book: AddressBook
    link: MinerLink = field(init=False)
    keeping: "asyncio.Task[None]" = field(init=False)

    def start(self) -> None:
        """Fork one, so to speak."""
        self.link = MinerLink(self.settings, self.book)
        self.keeping = asyncio.create_task(self.link.keep())

    async def stop(self) -> None:
        """End it."""
        self.keeping.cancel()
        await asyncio.wait([self.keeping])

    async def begin_job(self) -> str:
        """Take the next offer and be ready for its command; the attempt's uuid."""
        offer = await asyncio.wait_for(self.link.offers.get(), 20)
        await self.link.tell(ExecutorReady(Role.EXECUTOR))
        return offer.job_uuid

    async def end_job(self) -> None:
        """Report, wait for the acknowledgement, exit; the next one is forked."""
        reason = HordeFaultReason.UNHANDLED_EXCEPTION
        await self.link.tell(HordeFailed(Role.EXECUTOR, reason, "the test ends it"))
        await asyncio.wait_for(self.link.acknowledged.wait(), 20)
        await self.stop()
        self.start()

    def is_at(self, address: MinerAddress) -> bool:
        """Whether that is the miner it goes to now."""
        return self.book.addresses()[0] == str(address)


@asynccontextmanager
async def executor(slot: Slot, *miners: MinerAddress, **more: Any) -> AsyncIterator[Executor]:
    """A slot's executor that first asks the first of ``miners``."""
    settings = ExecutorSettings(
        **{
            "slot_id": slot.slot_id,
            "executor_class": slot.executor_class,
            "miners": [str(miner) for miner in miners],
            "token": token_of(slot),
            "gpu_uuids": list(slot.devices),
            "work_dir": Path("/nonexistent"),
            "allocation_id": slot.allocation_id,
            **more,
        }
    )
    one = Executor(settings, AddressBook(settings.miners))
    one.start()
    try:
        yield one
    finally:
        await one.stop()


@asynccontextmanager
async def greeting(
    slot: Slot, miner: MinerAddress, token: str | None = None, come_from: str = "127.0.0.1", **hello: Any
) -> AsyncIterator[Peer]:
    """A raw connection that has sent a greeting of any kind."""
    connector = aiohttp.TCPConnector(local_addr=(come_from, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(
            f"wss://{miner.host_and_port}{PATH}",
            ssl=aiohttp.Fingerprint(miner.certificate_sha256),
            headers={"Authorization": f"Bearer {token or token_of(slot)}"},
        ) as socket,
    ):
        peer = Peer(socket)
        greeted = {
            "slot_id": slot.slot_id,
            "executor_class": slot.executor_class,
            "pid": 1,
            "devices": list(slot.devices),
            **hello,
        }
        await peer.say(message_type="HordeExecutorHello", **greeted)
        yield peer
