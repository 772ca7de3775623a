"""A shared store of each kind, and seats in it: everything of a miner's placement without its listeners."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs

from horde_agents.agents.miner.chain_facts import ChainFacts
from horde_agents.agents.miner.placed.shared import SharedPlacement
from horde_agents.agents.miner.placed.view import PlacementView
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.placement.coordination import MAX_CHANGES, Coordination, Put, Session
from horde_agents.placement.records import (
    CHOREOGRAPHER,
    HordeState,
    Keys,
    MoveRecord,
    Slot,
    SlotState,
    UidWish,
    as_json,
    read_moves,
    read_state,
)
from horde_agents.runtime.supervisor import supervised
from horde_agents.store.coordination import StoredCoordination
from horde_agents.testing.consul_server import ConsulServer
from tests.fixtures.waiting import eventually

T = TypeVar("T")
CLASS = "always_on.test"
CYCLE_BLOCKS = 100


@dataclass
class Seat:
    """One miner's part in placement; ``facts`` are what it read on the chain."""

    hotkey: str
    shared: SharedPlacement
    facts: ChainFacts
    store: Coordination
    open_jobs: set[str] = field(default_factory=set)

    @property
    def state(self) -> HordeState:
        """Its picture."""
        return self.shared.view.state


@dataclass
class Shared:
    """The shared store of one horde, as an operator sees it, and ways to act on it by hand."""

    settings: dict[str, Any]
    store: Coordination
    new_store: Callable[[], Coordination]
    keys: Keys

    async def state(self) -> HordeState:
        """All of it, now."""
        return read_state(self.keys, await self.store.snapshot(self.keys.prefix))

    async def slots(self) -> dict[str, Slot]:
        """The slots, now."""
        return dict((await self.state()).slots)

    async def owners(self) -> dict[str, str]:
        """Owner by slot, now."""
        return {slot_id: slot.owner for slot_id, slot in (await self.slots()).items()}

    async def history(self) -> list[MoveRecord]:
        """All moves, oldest first."""
        return read_moves(await self.store.snapshot(self.keys.history))

    async def put(self, key: str, value: str) -> None:
        """Write a key whatever it had."""
        assert await self.store.commit([Put(key, value, None)])

    async def add(self, slots: Iterable[Slot]) -> None:
        """Record slots, as a keeper does."""
        changes = [Put(self.keys.slot(slot.slot_id), as_json(slot), 0) for slot in slots]
        for start in range(0, len(changes), MAX_CHANGES):
            assert await self.store.commit(changes[start : start + MAX_CHANGES])

    async def change(self, slot_id: str, **more: Any) -> None:
        """Edit a slot's record by hand."""
        slot = (await self.slots())[slot_id]
        await self.put(self.keys.slot(slot_id), as_json(replace(slot, **more)))

    async def dance(self) -> None:
        """Ask for a dance and wait until it is over."""
        await self.put(self.keys.dance, "")
        await eventually(lambda: self._danced())

    async def drain(self, hotkey: str, *, drained: bool = True) -> None:
        """Drain a UID, or end that."""
        await self.put(self.keys.uid(hotkey), as_json(UidWish(drained=drained)))

    async def end_session(self, of: str) -> None:
        """End the session of a miner, as the store does with one that is silent."""
        entries = (await self.store.snapshot(self.keys.member(of))).entries
        session = entries[self.keys.member(of)].session
        assert session is not None
        await self.store.close_session(session)

    async def choreographer(self) -> str | None:
        """Who has the role; none while nobody has."""
        return (await self.state()).who_has(CHOREOGRAPHER)

    async def any_choreographer(self) -> str:
        """Wait until somebody has the role."""
        return await eventually(self.choreographer)

    async def _danced(self) -> bool:
        return not (await self.state()).dance_wanted


@asynccontextmanager
async def seat(
    shared: Shared, hotkey: str, uid: int | None = None, store: Coordination | None = None, **more: Any
) -> AsyncIterator[Seat]:
    """A miner's placement that runs while the block lasts, then leaves as a miner that is stopped does."""
    own = store or shared.new_store()
    settings = miner_settings(Path("/nonexistent"), **shared.settings, **more)
    view, facts = PlacementView(own, shared.keys), ChainFacts(uid)
    placement = SharedPlacement.of(settings, view, hotkey, f"127.0.0.1:1/{uid or 0:064}", facts)
    one = Seat(hotkey, placement, facts, own)
    async with supervised() as supervisor:
        placement.start(supervisor, None, one.open_jobs.__contains__)
        await eventually(lambda: _true(hotkey in one.state.members))
        yield one
        await placement.membership.leave()


@asynccontextmanager
async def seats(shared: Shared, *hotkeys: str, **more: Any) -> AsyncIterator[list[Seat]]:
    """Several of them, their UIDs counted from 1."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(seat(shared, hotkey, uid, **more))
            for uid, hotkey in enumerate(hotkeys, 1)
        ]


def miner_settings(folder: Path, **more: Any) -> MinerSettings:
    """Settings with nothing of the outside world; cycles of 100 blocks, and impatient."""
    return MinerSettings(
        **{
            "hotkey_file": folder / "hotkey",
            "database_url": f"sqlite:///{folder}/miner.sqlite3",
            "data_dir": folder / "data",
            "host": "127.0.0.1",
            "port": 0,
            "executor_port": 0,
            "operator_port": 0,
            "cycle_blocks": CYCLE_BLOCKS,
            "owner_gone_s": 0.3,
            "drain_s": 0.2,
            "dance": "slots",
            "dance_largest_share": 0.5,
            "dance_least_per_class": 0,  # minimum moves come first, and would be part of every count here
            **more,
        }
    )


@asynccontextmanager
async def sharing_in_consul(server: ConsulServer) -> AsyncIterator[Shared]:
    """A horde of its own in Consul."""
    settings = {"horde": f"t{uuid.uuid4().hex[:12]}", "consul_urls": [server.url]}
    async with _sharing(settings, lambda: ConsulCoordination(ClusterAddress((server.url,)))) as shared:
        yield shared


@asynccontextmanager
async def sharing_in_file(path: Path) -> AsyncIterator[Shared]:
    """A horde of its own in a file."""
    settings = {"horde": "horde", "placement_file": path}
    async with _sharing(settings, lambda: StoredCoordination(path)) as shared:
        yield shared


@asynccontextmanager
async def _sharing(
    settings: dict[str, Any], client: Callable[[], ConsulCoordination | StoredCoordination]
) -> AsyncIterator[Shared]:
    async with AsyncExitStack() as stack:

        def new_store() -> Coordination:
            store = client()
            stack.push_async_callback(store.close)
            return store

        yield Shared(settings, new_store(), new_store, Keys(settings["horde"]))


@pytest.fixture(params=["file", "consul"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shared]:
    """One horde in a store of each kind."""
    if request.param == "consul":
        async with sharing_in_consul(request.getfixturevalue("consul_server")) as found:
            yield found
    else:
        async with sharing_in_file(tmp_path / "placement.sqlite3") as found:
            yield found


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    """What agents log in this process."""
    with capture_logs() as lines:
        yield lines


def slots(count: int, owner: str = "", state: SlotState = SlotState.READY, start: int = 0) -> list[Slot]:
    """Slots that some keeper has."""
    return [
        Slot(f"node:cpu-{number}", CLASS, "node", owner=owner, epoch=1 if owner else 0, state=state)
        for number in range(start, start + count)
    ]


class Breaking:
    """A store whose session of one miner ends just before its ``nth`` transaction of moves.

    Writes that are under way together are made one after another, so that those before it are made.
    """

    def __init__(self, store: Coordination, nth: int, history: str) -> None:
        self._store, self._nth, self._history = store, nth, history
        self._turn = asyncio.Lock()
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, changes: Any) -> bool:
        async with self._turn:
            return await self._commit(changes)

    async def _commit(self, changes: Any) -> bool:
        if any(change.key.startswith(self._history) for change in changes):
            self._nth -= 1
            if self._nth == 0:
                await self._store.close_session(Session(changes[0].session))
        done = await self._store.commit(changes)
        self.refused += not done
        return done


class LateReader:
    """A store whose changes one miner learns of late: answers to its blocking queries are held back."""

    def __init__(self, store: Coordination) -> None:
        self._store = store
        self.on_time = asyncio.Event()
        self.on_time.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def changed(self, prefix: str, index: int, wait_s: float) -> Any:
        await self.on_time.wait()
        snapshot = await self._store.changed(prefix, index, wait_s)
        await self.on_time.wait()
        return snapshot


async def _true(value: bool) -> bool:
    return value
