"""Keys that people edit in Consul's UI or with its CLI, and how little a client costs."""

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.clients.consul_connection import ConsulConnection
from horde_agents.placement.coordination import MAX_CHANGES, Held, Put
from horde_agents.placement.records import Keys, read_state
from horde_agents.testing.consul_server import ConsulServer

_RENEWALS = 300


@pytest.fixture
async def by_hand(consul_server: ConsulServer) -> AsyncIterator[ConsulConnection]:
    connection = ConsulConnection(ClusterAddress((consul_server.url,)))
    yield connection
    await connection.close()


@pytest.mark.parametrize("value", [b"", b"\xff\x00\xfe", b"not JSON", b"null", b"{}", b'{"slot_id": 7}'])
async def test_value_edited_by_hand_is_garbage_and_stops_nothing(
    consul: ConsulCoordination, by_hand: ConsulConnection, value: bytes
) -> None:
    keys = Keys(str(uuid.uuid4()))
    await by_hand.call(lambda library: library.kv.put(keys.slot("a"), value, flags=42))
    await by_hand.call(lambda library: library.kv.put(f"{keys.prefix}folder/", None))
    snapshot = await consul.snapshot(keys.prefix)
    state = read_state(keys, snapshot)
    assert {garbage.key for garbage in state.garbage} == {f"{keys.prefix}folder/", keys.slot("a")}
    assert await consul.commit([Put(keys.slot("a"), "{}", snapshot.entries[keys.slot("a")].index)])


async def test_edit_by_hand_beats_the_check_and_set_that_did_not_see_it(
    consul: ConsulCoordination, by_hand: ConsulConnection
) -> None:
    key = f"test/{uuid.uuid4()}"
    await consul.commit([Put(key, "ours", 0)])
    index = (await consul.snapshot(key)).entries[key].index
    await by_hand.call(lambda library: library.kv.put(key, "theirs"))
    assert not await consul.commit([Put(key, "ours again", index)])
    assert (await consul.snapshot(key)).entries[key].value == "theirs"


async def test_lock_edited_by_hand_still_has_its_holder(
    consul: ConsulCoordination, by_hand: ConsulConnection
) -> None:
    lock = f"test/{uuid.uuid4()}"
    session = await consul.open_session("miner", 10, ephemeral=True)
    await consul.acquire(lock, "ours", session)
    await by_hand.call(lambda library: library.kv.put(lock, "theirs"))
    entry = (await consul.snapshot(lock)).entries[lock]
    assert (entry.value, entry.session) == ("theirs", session)
    changes = [Put(f"{lock}/{number}", "x", 0) for number in range(MAX_CHANGES - 1)]
    assert await consul.commit([Held(lock, session), *changes])
    await consul.release(lock, session)
    assert (await consul.snapshot(lock)).entries[lock].session is None


async def test_renewals_cost_one_connection_and_no_thread(consul: ConsulCoordination) -> None:
    session = await consul.open_session("miner", 10, ephemeral=True)
    await consul.renew(session)
    threads, files = threading.active_count(), _open_files()
    for _ in range(_RENEWALS):
        await consul.renew(session)
    assert threading.active_count() == threads
    assert _open_files() == files
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(consul.renew(session))
    assert threading.active_count() == threads


def _open_files() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))
