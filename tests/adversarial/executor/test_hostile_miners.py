"""Miners that are broken or lie to their executors: none of them makes an executor crash, spin or forget."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from horde_agents.agents.executor.address_book import AddressBook
from horde_agents.agents.executor.link import MinerLink
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.miner.certificate import ensure_certificate, fingerprint, server_context
from horde_agents.protocol.miner_address import MinerAddress
from horde_agents.protocol.miner_executor import PATH
from horde_agents.runtime.health import listening

ELSEWHERE = f"127.0.0.1:1/{'0' * 64}"
WELCOME = {"message_type": "HordeWelcome", "miner_hotkey": "5Miner"}


class LyingMiner:
    """Answers each greeting by ``answers`` with its number; ``greetings`` are those that came."""

    def __init__(self) -> None:
        self.greetings: list[dict[str, Any]] = []
        self.answers: Callable[[web.WebSocketResponse, int], Awaitable[None]]
        self.address = ""

    async def connected(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.greetings.append(await socket.receive_json())
        await self.answers(socket, len(self.greetings))
        await socket.close()
        return socket


@pytest.fixture
async def miner(tmp_path: Path) -> AsyncIterator[LyingMiner]:
    one, app = LyingMiner(), web.Application()
    app.add_routes([web.get(PATH, one.connected)])
    certificate = ensure_certificate(tmp_path, "127.0.0.1")
    async with listening(app, "127.0.0.1", 0, server_context(certificate)) as port:
        one.address = str(MinerAddress(f"127.0.0.1:{port}", fingerprint(certificate)))
        yield one


@asynccontextmanager
async def link_to(miner: LyingMiner) -> AsyncIterator[MinerLink]:
    settings = ExecutorSettings(
        slot_id="node:cpu-0",
        executor_class="always_on.test",
        miners=[miner.address],
        token="t",
        work_dir=Path("/nonexistent"),
    )
    link = MinerLink(settings, AddressBook(settings.miners))
    keeping = asyncio.create_task(link.keep())
    try:
        yield link
        assert not keeping.done(), keeping
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def until_greeted(miner: LyingMiner, times: int) -> None:
    async with asyncio.timeout(20):
        while len(miner.greetings) < times:
            await asyncio.sleep(0.02)


def go_to(address: str, epoch: int = 1) -> dict[str, Any]:
    return {"message_type": "HordeGoTo", "address": address, "placement_epoch": epoch}


@pytest.mark.parametrize("welcomes_first", [False, True])
async def test_executor_that_is_sent_to_and_fro_slows_down(
    miner: LyingMiner, *, welcomes_first: bool
) -> None:
    async def answers(socket: web.WebSocketResponse, _number: int) -> None:
        if welcomes_first:
            await socket.send_json(WELCOME)
        await socket.send_json(go_to(miner.address))

    miner.answers = answers
    async with link_to(miner):
        await asyncio.sleep(4)
    assert 0 < len(miner.greetings) <= 20  # hundreds when it spins, fewer on a slow machine


@pytest.mark.parametrize(
    "frame",
    [
        go_to("nowhere"),
        go_to(f"{'h' * 100_000}:1/{'0' * 64}"),
        go_to(f"é:1/{'0' * 64}"),
        go_to(ELSEWHERE, -1),
        go_to(ELSEWHERE, 10**4000),
        {"message_type": "HordeGoTo"},
        {**WELCOME, "heartbeat_s": -1},
        {**WELCOME, "heartbeat_s": 1e308},
        {**WELCOME, "horde_addresses": "x"},
        {**WELCOME, "miner_hotkey": None},
        {"message_type": "HordeAck", "job_uuid": "x"},
        {"message_type": "V0InitialJobRequest"},
    ],
    ids=range(12),
)
async def test_first_word_that_makes_no_sense_is_survived(miner: LyingMiner, frame: dict[str, Any]) -> None:
    async def answers(socket: web.WebSocketResponse, number: int) -> None:
        await socket.send_json(frame if number == 1 else WELCOME)
        if number > 1:
            await socket.receive()

    miner.answers = answers
    async with link_to(miner) as link:
        await until_greeted(miner, 2)
        assert link.book.addresses() == [miner.address]
        assert link.book.epoch == 0


async def test_garbage_in_service_is_answered_and_the_link_stays(miner: LyingMiner) -> None:
    told: list[str] = []

    async def answers(socket: web.WebSocketResponse, _number: int) -> None:
        await socket.send_json(WELCOME)
        frames: list[Any] = [go_to("nowhere"), go_to(ELSEWHERE, -1), {**WELCOME, "heartbeat_s": -1}, [], {}]
        for frame in frames:
            await socket.send_json(frame)
            told.append((await socket.receive_json())["message_type"])
        await socket.receive()

    miner.answers = answers
    async with link_to(miner) as link, asyncio.timeout(20):
        while len(told) < 5:
            await asyncio.sleep(0.02)
        assert link.heartbeat_s == 5.0
    assert told == ["GenericError"] * 5
    assert len(miner.greetings) == 1


async def test_thousands_of_addresses_leave_the_present_miner_first(miner: LyingMiner) -> None:
    crowd = [f"{'h' * 253}:{port}/{'0' * 64}" for port in range(10_000, 20_000)]

    async def answers(socket: web.WebSocketResponse, _number: int) -> None:
        await socket.send_json({**WELCOME, "horde_addresses": ["garbage"] * 5000 + crowd})
        await socket.send_json({**WELCOME, "horde_addresses": [miner.address, *crowd]})
        await socket.receive()

    miner.answers = answers
    async with link_to(miner) as link, asyncio.timeout(20):
        while len(link.book.addresses()) < 256:
            await asyncio.sleep(0.02)
        assert link.book.addresses()[0] == miner.address
