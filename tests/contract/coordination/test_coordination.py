"""What placement asks of the shared store, of Consul and of the SQLite file alike."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.placement.coordination import (
    MAX_CHANGES,
    Coordination,
    CoordinationAway,
    Delete,
    Held,
    Put,
    Session,
    SessionLost,
)
from horde_agents.store.coordination import StoredCoordination
from horde_agents.testing.consul_server import ConsulServer

_TTL_S = 10.0


@dataclass
class Shared:
    """Two clients of one store, as two miners have them, and a prefix of the test's own."""

    one: Coordination
    two: Coordination
    prefix: str

    def key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    async def index(self, name: str) -> int:
        return (await self.one.snapshot(self.prefix)).entries[self.key(name)].index

    async def value(self, name: str) -> str | None:
        entry = (await self.two.snapshot(self.prefix)).entries.get(self.key(name))
        return entry.value if entry else None

    async def put(self, name: str, value: str, index: int | None = None) -> bool:
        return await self.one.commit([Put(self.key(name), value, index)])


@pytest.fixture(params=["consul", "sqlite"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shared]:
    prefix = f"test/{uuid.uuid4()}/"
    clients: list[ConsulCoordination] | list[StoredCoordination]
    if request.param == "consul":
        server: ConsulServer = request.getfixturevalue("consul_server")
        clients = [ConsulCoordination(ClusterAddress((server.url,))) for _ in range(2)]
    else:
        clients = [StoredCoordination(tmp_path / "placement.sqlite3") for _ in range(2)]
    yield Shared(clients[0], clients[1], prefix)
    for client in clients:
        await client.close()


async def test_key_is_made_only_once(shared: Shared) -> None:
    assert await shared.put("a", "first", 0)
    assert not await shared.put("a", "second", 0)
    assert await shared.value("a") == "first"


async def test_stale_index_changes_nothing(shared: Shared) -> None:
    await shared.put("a", "first")
    stale = await shared.index("a")
    assert await shared.put("a", "second", stale)
    assert not await shared.put("a", "third", stale)
    assert not await shared.one.commit([Delete(shared.key("a"), stale)])
    assert await shared.value("a") == "second"


async def test_key_that_is_not_there_has_no_index_to_match(shared: Shared) -> None:
    assert not await shared.put("none", "value", 77)
    assert await shared.value("none") is None


async def test_changes_are_made_together_or_not_at_all(shared: Shared) -> None:
    await shared.put("b", "old")
    assert not await shared.one.commit([Put(shared.key("a"), "new", 0), Put(shared.key("b"), "new", 0)])
    assert await shared.value("a") is None
    assert await shared.value("b") == "old"


async def test_deleted_key_is_gone_and_may_be_made_again(shared: Shared) -> None:
    await shared.put("a", "first")
    assert await shared.one.commit([Delete(shared.key("a"), await shared.index("a"))])
    assert await shared.value("a") is None
    assert await shared.put("a", "again", 0)


async def test_prefix_does_not_take_in_its_neighbour(shared: Shared) -> None:
    await shared.put("b/x", "inside")
    await shared.put("bc/x", "neighbour")
    snapshot = await shared.one.snapshot(shared.key("b/"))
    assert list(snapshot.entries) == [shared.key("b/x")]


@pytest.mark.parametrize("odd", ["_", "[", "ä", "a b", "x+y:z", "a?b#c", "%41", "100%", "~'\"*"])
async def test_odd_characters_in_a_key_are_only_themselves(shared: Shared, odd: str) -> None:
    await shared.put(f"s{odd}/x", "value")
    await shared.put("sQ/x", "other")
    assert list((await shared.one.snapshot(shared.key(f"s{odd}/"))).entries) == [shared.key(f"s{odd}/x")]


async def test_large_and_foreign_text_comes_back_as_it_was(shared: Shared) -> None:
    text = "Größe → 大きさ\n" * 5_000
    await shared.put("a", text)
    assert await shared.value("a") == text


async def test_as_many_changes_as_allowed_and_no_more(shared: Shared) -> None:
    changes = [Put(shared.key(f"{number:03}"), "x", 0) for number in range(MAX_CHANGES + 1)]
    with pytest.raises(ValueError, match="60 are the most"):
        await shared.one.commit(changes)
    assert await shared.one.commit(changes[:MAX_CHANGES])
    assert len((await shared.one.snapshot(shared.prefix)).entries) == MAX_CHANGES


async def test_watch_wakes_when_another_writes(shared: Shared) -> None:
    await shared.put("a", "first")
    index = (await shared.two.snapshot(shared.prefix)).index
    watching = asyncio.create_task(shared.two.changed(shared.prefix, index, 30.0))
    await asyncio.sleep(0.2)
    assert not watching.done()
    await shared.put("a", "second")
    snapshot = await asyncio.wait_for(watching, 10)
    assert snapshot.entries[shared.key("a")].value == "second"
    assert snapshot.index != index


async def test_watch_without_a_change_returns_what_is_there(shared: Shared) -> None:
    await shared.put("a", "first")
    index = (await shared.two.snapshot(shared.prefix)).index
    snapshot = await asyncio.wait_for(shared.two.changed(shared.prefix, index, 0.2), 10)
    assert snapshot.entries[shared.key("a")].value == "first"


async def test_watch_can_be_left_at_any_time(shared: Shared) -> None:
    await shared.put("a", "first")
    index = (await shared.two.snapshot(shared.prefix)).index
    watching = asyncio.create_task(shared.two.changed(shared.prefix, index, 30.0))
    await asyncio.sleep(0.1)
    watching.cancel()
    await asyncio.wait([watching])
    assert await shared.value("a") == "first"


async def _session(store: Coordination, *, ephemeral: bool = True) -> Session:
    return await store.open_session("test", _TTL_S, ephemeral=ephemeral)


async def test_lock_has_one_holder(shared: Shared) -> None:
    mine, theirs = await _session(shared.one), await _session(shared.two)
    assert await shared.one.acquire(shared.key("lock"), "mine", mine)
    assert not await shared.two.acquire(shared.key("lock"), "theirs", theirs)
    assert await shared.one.acquire(shared.key("lock"), "mine, again", mine)
    assert await shared.value("lock") == "mine, again"
    entry = (await shared.two.snapshot(shared.prefix)).entries[shared.key("lock")]
    assert entry.session == mine


async def test_released_lock_stays_as_a_key_and_goes_to_the_next(shared: Shared) -> None:
    mine, theirs = await _session(shared.one), await _session(shared.two)
    await shared.one.acquire(shared.key("lock"), "mine", mine)
    await shared.two.release(shared.key("lock"), theirs)
    assert not await shared.two.acquire(shared.key("lock"), "theirs", theirs)
    await shared.one.release(shared.key("lock"), mine)
    assert await shared.value("lock") == "mine"
    assert await shared.two.acquire(shared.key("lock"), "theirs", theirs)


async def test_what_an_ephemeral_session_held_ends_with_it(shared: Shared) -> None:
    session = await _session(shared.one)
    await shared.one.acquire(shared.key("here"), "I live", session)
    await shared.one.close_session(session)
    assert await shared.value("here") is None
    with pytest.raises(SessionLost):
        await shared.one.renew(session)
    with pytest.raises(SessionLost):
        await shared.one.acquire(shared.key("here"), "I live", session)
    await shared.one.close_session(session)


async def test_what_a_lasting_session_held_is_only_released(shared: Shared) -> None:
    session = await _session(shared.one, ephemeral=False)
    await shared.one.acquire(shared.key("lock"), "mine", session)
    await shared.one.close_session(session)
    entry = (await shared.two.snapshot(shared.prefix)).entries[shared.key("lock")]
    assert (entry.value, entry.session) == ("mine", None)


async def test_fence_lets_only_the_holder_write(shared: Shared) -> None:
    session = await _session(shared.one, ephemeral=False)
    lock = shared.key("lock")
    await shared.one.acquire(lock, "mine", session)
    assert await shared.one.commit([Held(lock, session), Put(shared.key("a"), "mine", 0)])
    await shared.one.close_session(session)
    assert not await shared.one.commit([Held(lock, session), Put(shared.key("a"), "late", None)])
    assert await shared.value("a") == "mine"


async def test_fence_of_a_lock_that_was_never_taken_holds_nothing(shared: Shared) -> None:
    session = await _session(shared.one)
    assert not await shared.one.commit([Held(shared.key("lock"), session), Put(shared.key("a"), "x", 0)])


_DIES = """
import asyncio, sys
from pathlib import Path
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.store.coordination import StoredCoordination

async def main(kind, where, key):
    if kind == "consul":
        store = ConsulCoordination(ClusterAddress((where,)))
    else:
        store = StoredCoordination(Path(where))
    session = await store.open_session("dies", 10.0, ephemeral=True)
    print(await store.acquire(key, "mine", session), flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_lock_of_a_killed_process_becomes_free(consul_server: ConsulServer, tmp_path: Path) -> None:
    path = tmp_path / "placement.sqlite3"
    async with asyncio.TaskGroup() as group:  # each waits as long as a session may live on
        group.create_task(
            _killed_holder_is_followed(
                ConsulCoordination(ClusterAddress((consul_server.url,))), "consul", consul_server.url
            )
        )
        group.create_task(_killed_holder_is_followed(StoredCoordination(path), "sqlite", str(path)))


async def _killed_holder_is_followed(
    store: ConsulCoordination | StoredCoordination, kind: str, where: str
) -> None:
    key = f"test/{uuid.uuid4()}/lock"
    other = subprocess.Popen([sys.executable, "-c", _DIES, kind, where, key], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert await asyncio.to_thread(other.stdout.readline) == b"True\n"
    mine = await store.open_session("waits", 600.0, ephemeral=True)
    assert not await store.acquire(key, "mine", mine)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    async with asyncio.timeout(60):
        while not await store.acquire(key, "mine", mine):
            await asyncio.sleep(0.5)
    await store.close()
    other.stdout.close()


async def test_store_that_is_not_there_is_said_to_be_away(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for store in (
        ConsulCoordination(ClusterAddress(("http://127.0.0.1:9",))),
        StoredCoordination(tmp_path / "folder"),
    ):
        with pytest.raises(CoordinationAway):
            await store.snapshot("test/")
        await store.close()
