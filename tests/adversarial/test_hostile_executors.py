"""Executors with a right token that lie, flood, meddle or stay silent: the miner's others never notice."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from horde_agents.placement.records import Member, as_json
from horde_agents.protocol.miner_executor import PATH
from tests.integration.miner.conftest import Peer, new_uuid, signed_offer
from tests.integration.placement.conftest import Shared, sharing_in_file, slots
from tests.integration.placement.miners import PlacedMiner, greeting, serving, token_of

HEAD = (
    f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(b'k' * 16).decode()}\r\n"
)


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Shared]:
    async with sharing_in_file(tmp_path / "placement.sqlite3") as found:
        yield found


@pytest.fixture
async def miner(shared: Shared, tmp_path: Path) -> AsyncIterator[PlacedMiner]:
    async with serving(tmp_path, shared, "a") as running:
        yield running


async def refusal(peer: Peer) -> str:
    return str((await peer.expect("GenericError"))["details"])


async def job_runs(miner: PlacedMiner, stack: AsyncExitStack, executor: Peer) -> str:
    """Have a job accepted that ``executor`` is offered; its uuid."""
    validator = await stack.enter_async_context(miner.validator())
    await validator.send(signed_offer(miner, new_uuid()))
    uuid = str((await validator.expect("V0AcceptJobRequest"))["job_uuid"])
    while (frame := await executor.frame())["message_type"] == "HordeWelcome":
        pass
    assert frame["job_uuid"] == uuid
    return uuid


@pytest.mark.parametrize("token", [b"\xff\xfe.\xc3\x28", "tökén".encode(), b"", b".", b"x" * 8000])
async def test_token_of_any_bytes_is_refused_in_words(
    miner: PlacedMiner, capfd: pytest.CaptureFixture[str], token: bytes
) -> None:
    host, _, port = miner.address.host_and_port.partition(":")
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trust)
    writer.write(HEAD.encode() + b"Authorization: Bearer " + token + b"\r\n\r\n")
    assert b" 401 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert "Traceback" not in capfd.readouterr().err


async def test_greeting_without_end_is_refused_unread(shared: Shared, miner: PlacedMiner) -> None:
    (record,) = slots(1, miner.hotkey)
    await shared.add([record])
    async with greeting(record, miner.address, devices=["g" * 40] * 10_000) as peer:
        assert "65536 is the most" in await refusal(peer)


async def test_executor_cannot_take_anothers_attempt(shared: Shared, miner: PlacedMiner) -> None:
    mine, other = slots(2, miner.hotkey)
    await shared.add([mine, other])
    async with AsyncExitStack() as stack:
        victim = await stack.enter_async_context(greeting(mine, miner.address))
        await victim.expect("HordeWelcome")
        uuid = await job_runs(miner, stack, victim)
        lies: list[dict[str, Any]] = [
            {"meant_for": uuid},
            {"meant_for": uuid, "running_job_uuid": uuid},
            {"running_job_uuid": uuid},
        ]
        for lie in lies:
            async with greeting(other, miner.address, **lie) as thief:
                frames = [await thief.frame()]
                while frames[-1]["message_type"] not in {"GenericError", "HordeAck", "V0InitialJobRequest"}:
                    frames.append(await thief.frame())
                assert "V0InitialJobRequest" not in {frame["message_type"] for frame in frames}, lie
                await thief.say(message_type="V0JobFailedRequest", job_uuid=uuid, docker_process_stdout="")
        await victim.say(message_type="V0ExecutorReadyRequest", job_uuid=uuid)
        async with miner.validator() as validator:
            await validator.send(signed_offer(miner, uuid))
            await validator.expect("V0AcceptJobRequest")
            await validator.expect("V0ExecutorReadyRequest")


def framed(text: bytes) -> bytes:
    """A text frame of up to 64 KiB as a client sends it."""
    return bytes([0x81, 0xFE]) + len(text).to_bytes(2, "big") + bytes(4) + text


def fill(wrapped: ssl.SSLSocket) -> None:
    """Ask for answers, none of which is read, until the miner reads no more either."""
    text = {"message_type": "V0ExecutorReadyRequest", "job_uuid": "u" * 60_000}
    wrapped.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        for _ in range(1000):
            wrapped.sendall(framed(json.dumps(text).encode()))


@asynccontextmanager
async def deaf(record: Any, miner: PlacedMiner) -> AsyncIterator[ssl.SSLSocket]:
    """An executor that greets and then reads nothing, behind a window as small as the system makes it."""
    host, _, port = miner.address.host_and_port.partition(":")
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    plain.connect((host, int(port)))
    wrapped = await asyncio.to_thread(trust.wrap_socket, plain)
    text = json.dumps(
        {
            "message_type": "HordeExecutorHello",
            "slot_id": record.slot_id,
            "executor_class": record.executor_class,
            "pid": 1,
        }
    ).encode()
    auth = f"Authorization: Bearer {token_of(record)}\r\n\r\n"
    await asyncio.to_thread(wrapped.sendall, f"{HEAD}{auth}".encode() + framed(text))
    try:
        yield wrapped
    finally:
        wrapped.close()


async def crowd(shared: Shared, numbers: range) -> None:
    """Many miners more; each change of their number is told to every executor."""
    session = await shared.store.open_session("crowd", 60, ephemeral=True)
    for number in numbers:
        member = Member(f"m{number}", 1000 + number, f"{'h' * 200}:1/{'0' * 64}", may_dance=False)
        await shared.store.acquire(shared.keys.member(member.hotkey), as_json(member), session)


async def test_link_that_never_reads_holds_up_no_other(shared: Shared, miner: PlacedMiner) -> None:
    silent, moved = (replace(slot, pinned=True) for slot in slots(2, miner.hotkey))
    await shared.add([silent, moved])
    async with deaf(silent, miner) as wrapped, greeting(moved, miner.address) as peer:
        await peer.expect("HordeWelcome")
        await miner.until_offers(2)
        await asyncio.to_thread(fill, wrapped)
        for count in (120, 240, 360):  # the last of these words alone is more than a link buffers
            await crowd(shared, range(count - 120, count))
            while len((await peer.expect("HordeWelcome"))["horde_addresses"]) <= count:
                pass
        await shared.change(moved.slot_id, owner="m7", epoch=2)
        async with asyncio.timeout(5):
            await peer.expect("HordeGoTo")


async def test_newcomer_does_not_wait_for_the_dead_link_of_its_slot(
    shared: Shared, miner: PlacedMiner
) -> None:
    (record,) = slots(1, miner.hotkey)
    await shared.add([record])
    async with deaf(record, miner) as wrapped:
        await miner.until_offers(1)
        await asyncio.to_thread(fill, wrapped)
        async with asyncio.timeout(3), greeting(record, miner.address) as peer:
            await peer.expect("HordeWelcome")


@pytest.mark.parametrize("epoch", [-1, -(2**70), 2**70, 10**4000])
async def test_odd_epoch_neither_locks_a_slot_out_nor_raises(
    shared: Shared, miner: PlacedMiner, epoch: int
) -> None:
    (record,) = slots(1, miner.hotkey)
    await shared.add([record])
    async with greeting(record, miner.address, placement_epoch=epoch) as peer:
        assert (await peer.frame())["message_type"] in {"HordeWelcome", "GenericError"}
    async with greeting(record, miner.address) as peer:
        await peer.expect("HordeWelcome")
        await miner.until_offers(1)


async def test_links_that_steal_a_slot_from_each_other_leave_the_rest_alone(
    shared: Shared, miner: PlacedMiner
) -> None:
    fought_for, quiet = slots(2, miner.hotkey)
    await shared.add([fought_for, quiet])
    async with greeting(quiet, miner.address) as peer:
        await peer.expect("HordeWelcome")
        for _ in range(30):
            async with greeting(fought_for, miner.address) as thief:
                await thief.expect("HordeWelcome")
        async with AsyncExitStack() as stack:
            for _ in range(30):
                thief = await stack.enter_async_context(greeting(fought_for, miner.address))
                await thief.expect("HordeWelcome")
        assert not peer.socket.closed
        async with asyncio.timeout(5):
            await miner.until_offers(2)


async def test_executor_that_leaves_and_goes_on_gets_nothing(shared: Shared, miner: PlacedMiner) -> None:
    (record,) = slots(1, miner.hotkey)
    await shared.add([record])
    async with greeting(record, miner.address) as peer, miner.validator() as validator:
        await peer.expect("HordeWelcome")
        await peer.say(message_type="HordeLeaving")
        for _ in range(200):
            try:
                await peer.say(message_type="HordeHeartbeat", job_uuid="x", stage="execution", elapsed_s=1)
            except (aiohttp.ClientError, ConnectionError):
                break
        await validator.send(signed_offer(miner, new_uuid()))
        await validator.expect("V0DeclineJobRequest")
