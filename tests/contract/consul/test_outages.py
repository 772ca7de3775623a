"""Servers that die, freeze, forget or come back, under the shared store."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.placement.coordination import (
    Coordination,
    CoordinationAway,
    Held,
    Put,
    SessionLost,
    Snapshot,
)
from horde_agents.testing.consul_server import ConsulServer
from tests.contract.consul.conftest import Cluster

AsyncCall: TypeAlias = Coroutine[Any, Any, object]
_PREFIX = "outages/"
#: A call that a frozen server could hold for good has hung by then; far beyond any bound of the client.
_HUNG_S = 60


@asynccontextmanager
async def client(*urls: str) -> AsyncIterator[ConsulCoordination]:
    store = ConsulCoordination(ClusterAddress(urls))
    try:
        yield store
    finally:
        await store.close()


async def present(store: Coordination, prefix: str, patience_s: float = 40.0) -> Snapshot:
    """What is there, as soon as the store answers."""
    async with asyncio.timeout(patience_s):
        while True:
            try:
                return await store.snapshot(prefix)
            except CoordinationAway:
                await asyncio.sleep(0.1)


@dataclass
class Counter:
    """Raises one key by check-and-set, as often as it can, and counts what was acknowledged."""

    store: Coordination
    key: str
    wins: int = 0
    refusals: int = 0
    doubts: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while not self.ended.is_set():
            try:
                entry = (await self.store.snapshot(self.key)).entries[self.key]
                if await self.store.commit([Put(self.key, str(int(entry.value) + 1), entry.index)]):
                    self.wins += 1
                else:
                    self.refusals += 1
            except CoordinationAway:
                self.doubts += 1
                await asyncio.sleep(0.1)


async def test_leader_is_killed_and_no_acknowledged_write_is_lost_or_made_twice(cluster: Cluster) -> None:
    leader, key = cluster.leader(), f"{_PREFIX}{uuid.uuid4()}"
    one, two = cluster.followers()
    async with (
        client(*cluster.urls(leader)) as first,
        client(*cluster.urls(one)) as second,
        client(*cluster.urls(two)) as third,
    ):
        await first.commit([Put(key, "0", 0)])
        counters = [Counter(store, key) for store in (first, second, third)]
        async with asyncio.TaskGroup() as group:
            for counter in counters:
                group.create_task(counter.run())
            await asyncio.sleep(1)
            await asyncio.to_thread(leader.process.kill)
            await present(third, key)
            before = sum(counter.wins for counter in counters)
            await asyncio.sleep(2)
            for counter in counters:
                counter.ended.set()
        wins, doubts = (sum(getattr(counter, what) for counter in counters) for what in ("wins", "doubts"))
        assert wins > before, "the cluster works on with two servers"
        value = int((await third.snapshot(key)).entries[key].value)
        assert wins <= value <= wins + doubts


async def test_session_lock_and_watch_outlive_the_leader(cluster: Cluster) -> None:
    leader, prefix = cluster.leader(), f"{_PREFIX}{uuid.uuid4()}/"
    lock = f"{prefix}lock"
    async with client(*cluster.urls(leader)) as mine, client(*cluster.urls(*cluster.followers())) as other:
        session = await mine.open_session("mine", 10, ephemeral=True)
        assert await mine.acquire(lock, "mine", session)
        index = (await mine.snapshot(prefix)).index
        watching = asyncio.create_task(mine.changed(prefix, index, 30))
        await asyncio.to_thread(leader.process.kill)
        await present(other, prefix)
        theirs = await other.open_session("theirs", 10, ephemeral=True)
        assert not await other.acquire(lock, "theirs", theirs)
        await mine.renew(session)
        assert await mine.commit([Held(lock, session), Put(f"{prefix}a", "fenced", 0)])
        snapshot = await asyncio.wait_for(_woken(mine, prefix, watching), 20)
        assert snapshot.entries[f"{prefix}a"].value == "fenced"
        assert snapshot.entries[lock].session == session


async def _woken(store: Coordination, prefix: str, watching: "asyncio.Task[Snapshot]") -> Snapshot:
    """The picture with ``a``, as one who watches comes to it."""
    try:
        snapshot = await watching
    except CoordinationAway:
        snapshot = await present(store, prefix)
    while f"{prefix}a" not in snapshot.entries:
        snapshot = await store.changed(prefix, snapshot.index, 5)
    return snapshot


async def test_frozen_server_is_left_for_the_next_in_bounded_time(cluster: Cluster) -> None:
    frozen, live = cluster.followers()
    prefix = f"{_PREFIX}{uuid.uuid4()}/"
    async with client(frozen.url) as alone, client(frozen.url, live.url) as both:
        session = await both.open_session("frozen", 10, ephemeral=True)
        index = (await both.snapshot(prefix)).index
        frozen.process.send(signal.SIGSTOP)
        try:
            async with asyncio.TaskGroup() as group:
                for call in (
                    alone.snapshot(prefix),
                    alone.commit([Put(f"{prefix}x", "x", None)]),
                    alone.open_session("x", 10, ephemeral=True),
                    alone.changed(prefix, index, 1),
                ):
                    group.create_task(_away(call))
                first_call = group.create_task(_done(both.renew(session)))
                group.create_task(_done(both.changed(prefix, index, 1)))
                group.create_task(_done(both.commit([Put(f"{prefix}y", "y", None)])))
            assert await _done(both.snapshot(prefix)) < first_call.result() / 2
        finally:
            frozen.process.send(signal.SIGCONT)
        assert (await both.snapshot(prefix)).entries[f"{prefix}y"].value == "y"


async def _away(call: AsyncCall) -> None:
    async with asyncio.timeout(_HUNG_S):
        with pytest.raises(CoordinationAway, match="does not answer"):
            await call


async def _done(call: AsyncCall) -> float:
    """The seconds that it took."""
    began_s = time.monotonic()
    async with asyncio.timeout(_HUNG_S):
        await call
    return time.monotonic() - began_s


async def test_all_servers_away_and_back_leave_a_session_renewed_or_lost(cluster: Cluster) -> None:
    prefix = f"{_PREFIX}{uuid.uuid4()}/"
    async with client(*cluster.urls()) as store:
        session = await store.open_session("mine", 10, ephemeral=True)
        assert await store.acquire(f"{prefix}lock", "mine", session)
        await store.commit([Put(f"{prefix}kept", "kept", 0)])
        for server in cluster.servers:
            await asyncio.to_thread(server.process.kill)
        with pytest.raises(CoordinationAway):
            await _done(store.renew(session))
        with pytest.raises(CoordinationAway):
            await _done(store.commit([Put(f"{prefix}b", "b", 0)]))
        await asyncio.to_thread(cluster.start)
        snapshot = await present(store, prefix)
        assert snapshot.entries[f"{prefix}kept"].value == "kept"
        try:
            await store.renew(session)
        except SessionLost:
            assert f"{prefix}lock" not in (await store.snapshot(prefix)).entries
        else:
            assert snapshot.entries[f"{prefix}lock"].session == session
        again = await store.open_session("mine", 10, ephemeral=True)
        await store.renew(again)


async def test_fresh_server_on_the_same_address_is_seen_as_it_is(
    consul_program: Path, tmp_path: Path
) -> None:
    old = ConsulServer(consul_program, tmp_path / "old")
    old.start()
    old.wait_ready()
    fresh = ConsulServer(consul_program, tmp_path / "fresh", ports=old.ports)
    try:
        async with client(old.url) as store:
            for number in range(20):
                await store.commit([Put("slots/a", f"old {number}", None)])
            index = (await store.snapshot("slots/")).index
            session = await store.open_session("mine", 10, ephemeral=True)
            watching = asyncio.create_task(store.changed("slots/", index, 30))
            await asyncio.sleep(0.2)
            old.process.kill()
            with pytest.raises(CoordinationAway):
                await asyncio.wait_for(watching, 15)
            fresh.start()
            await asyncio.to_thread(fresh.wait_ready)
            snapshot = await present(store, "slots/")
            assert not snapshot.entries
            with pytest.raises(SessionLost):
                await store.renew(session)
            with pytest.raises(SessionLost):
                await store.acquire("slots/lock", "mine", session)
            watching = asyncio.create_task(store.changed("slots/", snapshot.index, 30))
            await store.commit([Put("slots/a", "new", 0)])
            assert (await asyncio.wait_for(watching, 10)).entries["slots/a"].value == "new"
            late = await store.changed("slots/", index + 1_000, 0.2)
            assert late.entries["slots/a"].value == "new"
            assert late.index < index + 1_000
    finally:
        old.process.kill()
        fresh.process.kill()


async def test_restored_snapshot_wakes_who_watches(consul_program: Path, tmp_path: Path) -> None:
    server = ConsulServer(consul_program, tmp_path / "consul")
    server.start()
    try:
        server.wait_ready()
        async with client(server.url) as store:
            await store.commit([Put("slots/a", "saved", None)])
            await _consul(consul_program, server, "save", tmp_path / "saved.snap")
            for number in range(20):
                await store.commit([Put("slots/a", f"later {number}", None)])
            index = (await store.snapshot("slots/")).index
            watching = asyncio.create_task(store.changed("slots/", index, 30))
            await asyncio.sleep(0.2)
            await _consul(consul_program, server, "restore", tmp_path / "saved.snap")
            snapshot = await asyncio.wait_for(watching, 15)
            assert snapshot.entries["slots/a"].value == "saved"
            assert snapshot.index < index
            watching = asyncio.create_task(store.changed("slots/", snapshot.index, 30))
            await store.commit([Put("slots/a", "after", snapshot.entries["slots/a"].index)])
            assert (await asyncio.wait_for(watching, 10)).entries["slots/a"].value == "after"
    finally:
        server.process.kill()


async def _consul(program: Path, server: ConsulServer, verb: str, file: Path) -> None:
    words = ["snapshot", verb, f"-http-addr={server.url}", str(file)]
    asked = await asyncio.create_subprocess_exec(program, *words, stdout=asyncio.subprocess.DEVNULL)
    assert await asked.wait() == 0
