"""The validator's clock on a real chain that stalls, forks, lies, forgets and goes away."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from horde_agents.agents.validator.cycle_clock import SAFE_BLOCKS, CycleClock, why_unbelievable
from horde_agents.clients.chain import BittensorChain
from horde_agents.devchain.node import Node, running_node
from horde_agents.devchain.server import serving
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.store.engine import Store, open_store
from tests.fixtures.tcp_proxy import Proxy, proxied
from tests.fixtures.waiting import eventually
from tests.integration.devchain.conftest import NETUID

_CYCLE_BLOCKS = 30
#: Cycles of 30 blocks on subnet 12 start at 30 k - 14.
_FIRST_BLOCK = 46
_BLOCK_S = 0.2
_OWN = KeypairSigner.from_uri("//validator")


@dataclass
class Scene:
    """Chains behind one address, and clocks that follow it."""

    folder: Path
    stack: AsyncExitStack
    proxy: Proxy
    store: Store
    block_s: float = _BLOCK_S
    loops: list[asyncio.Task[None]] = field(default_factory=list)

    async def node(self, name: str, copy_of: str | None = None) -> tuple[Node, int]:
        """A chain that makes blocks on demand; a copy has all blocks of the other up to now."""
        journal = self.folder / f"{name}.jsonl"
        if copy_of is not None:
            shutil.copy(self.folder / f"{copy_of}.jsonl", journal)
        node = await self.stack.enter_async_context(
            running_node(journal, block_time_s=0, netuids=(NETUID,), tempo=10)
        )
        return node, await self.stack.enter_async_context(serving(node, "127.0.0.1", 0))

    async def clock(self) -> CycleClock:
        """A clock at work, as after a start of the validator."""
        chain = BittensorChain(f"ws://127.0.0.1:{self.proxy.port}", NETUID, _OWN)
        self.stack.push_async_callback(chain.close)
        clock = CycleClock(chain, self.store, NETUID, _CYCLE_BLOCKS, self.block_s)
        await clock.load()
        self.loops.append(asyncio.create_task(clock.serve()))
        return clock

    async def stop_clocks(self) -> None:
        """As when the validator ends."""
        while self.loops:
            self.loops[-1].cancel()
            await asyncio.wait([self.loops.pop()])


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxied(None))
        store = await stack.enter_async_context(open_store(f"sqlite:///{tmp_path}/v.sqlite3"))
        scene = Scene(tmp_path, stack, proxy, store)
        yield scene
        await scene.stop_clocks()


def _grow(node: Node, to: int) -> None:
    while node.chain.number < to:
        node.new_block()


async def _until(fact: Callable[[], object]) -> None:
    async def look() -> bool:
        return bool(fact())

    await eventually(look, 30.0)


async def _started(scene: Scene, to: int = 40) -> tuple[Node, CycleClock]:
    node, port = await scene.node("one")
    node.change("register", [NETUID, _OWN.hotkey, _OWN.hotkey])
    node.change("setStake", [NETUID, _OWN.hotkey, 10**12])
    _grow(node, to)
    await scene.proxy.lead_to(port)
    clock = await scene.clock()
    await _until(lambda: clock.block() == to - SAFE_BLOCKS)
    return node, clock


async def test_the_settled_block_runs_behind_the_head(scene: Scene) -> None:
    node, clock = await _started(scene)
    waiting = asyncio.create_task(clock.until_block(44))
    _grow(node, 45)
    await _until(lambda: clock.block() == 43)
    assert not waiting.done()
    _grow(node, 46)
    await waiting
    assert (clock.block(), clock.cycle_number(), clock.why_not_ready()) == (44, 1, None)


async def test_a_cycles_snapshot_is_taken_when_its_first_block_is_settled(scene: Scene) -> None:
    node, clock = await _started(scene)
    _grow(node, _FIRST_BLOCK + SAFE_BLOCKS - 1)
    await _until(lambda: clock.block() == _FIRST_BLOCK - 1)
    assert clock.snapshot(2) is None
    _grow(node, _FIRST_BLOCK + SAFE_BLOCKS)
    await _until(lambda: clock.snapshot(2))
    taken = clock.snapshot(2)
    assert taken is not None
    assert taken.block == _FIRST_BLOCK
    assert "0x" + taken.seed.hex() == node.chain.blocks[_FIRST_BLOCK - 3].hash
    assert taken.validators == {_OWN.hotkey: 10**12}
    assert await clock.at_cycle(2) == taken.neurons


async def test_a_snapshot_is_of_its_block_whatever_changes_in_the_middle_of_the_cycle(scene: Scene) -> None:
    node, clock = await _started(scene)
    _grow(node, _FIRST_BLOCK)
    node.new_block()
    node.change("register", [NETUID, KeypairSigner.from_uri("//late").hotkey, _OWN.hotkey])
    _grow(node, _FIRST_BLOCK + 5)
    await _until(lambda: clock.snapshot(2))
    assert [fact.hotkey for fact in await clock.at_cycle(2) or ()] == [_OWN.hotkey]


async def test_snapshots_outlive_a_restart_on_a_node_that_has_forgotten_the_block(scene: Scene) -> None:
    node, clock = await _started(scene)
    _grow(node, _FIRST_BLOCK + 3)
    await _until(lambda: clock.snapshot(2))
    before = clock.snapshot(2)
    await scene.stop_clocks()
    again = await scene.clock()
    await _until(lambda: again.block() == _FIRST_BLOCK + 1)
    assert again.snapshot(2) == before


async def test_jobs_that_end_before_the_first_reading_count_for_the_cycle_that_time_makes_it(
    scene: Scene,
) -> None:
    scene.block_s = 60.0
    node, clock = await _started(scene)
    _grow(node, _FIRST_BLOCK + 3)
    await _until(lambda: clock.snapshot(2))
    await scene.stop_clocks()
    await scene.proxy.lead_to(None)
    again = await scene.clock()
    assert (again.block(), again.cycle_number()) == (None, 2)


async def test_a_first_block_that_the_node_no_longer_has_leaves_the_cycle_without_and_nothing_else(
    scene: Scene,
) -> None:
    node, port = await scene.node("one")
    _grow(node, _FIRST_BLOCK + 10)
    for number in range(_FIRST_BLOCK + 5):
        node.chain.number_by_hash.pop(node.chain.blocks[number].hash)  # as a pruned node: hash, no state
    await scene.proxy.lead_to(port)
    clock = await scene.clock()
    await _until(lambda: clock.block() == _FIRST_BLOCK + 8)
    _grow(node, _FIRST_BLOCK + 12)
    await _until(lambda: clock.block() == _FIRST_BLOCK + 10)
    assert clock.why_not_ready() is None
    assert clock.snapshot(2) is None
    _grow(node, _FIRST_BLOCK + _CYCLE_BLOCKS + SAFE_BLOCKS)
    await _until(lambda: clock.snapshot(3))


async def test_a_stalled_chain_is_told_to_readiness_and_goes_on_where_it_stood(scene: Scene) -> None:
    node, clock = await _started(scene)
    await _until(lambda: clock.why_not_ready())
    assert "the chain stands at block 40" in str(clock.why_not_ready())
    assert clock.block() == 38
    node.new_block()
    await _until(lambda: clock.block() == 39)
    assert clock.why_not_ready() is None


async def test_an_outage_delays_and_loses_nothing(scene: Scene) -> None:
    node, clock = await _started(scene)
    port = scene.proxy.target
    await scene.proxy.lead_to(None)
    await _until(lambda: "does not answer" in str(clock.why_not_ready()))
    assert clock.block() == 38
    _grow(node, _FIRST_BLOCK + 3)
    await scene.proxy.lead_to(port)
    await _until(lambda: clock.snapshot(2))
    assert clock.why_not_ready() is None


async def test_a_reorganisation_of_the_first_block_takes_the_snapshot_anew(scene: Scene) -> None:
    node, clock = await _started(scene)
    fork, fork_port = await scene.node("two", copy_of="one")
    _grow(node, _FIRST_BLOCK + 3)
    await _until(lambda: clock.snapshot(2))
    first = clock.snapshot(2)
    fork.change("setStake", [NETUID, _OWN.hotkey, 3 * 10**12])
    _grow(fork, _FIRST_BLOCK + 4)
    await scene.proxy.lead_to(fork_port)
    await _until(lambda: clock.snapshot(2) != first)
    second = clock.snapshot(2)
    assert second is not None
    assert "0x" + second.seed.hex() == fork.chain.blocks[_FIRST_BLOCK - 3].hash
    assert second.validators == {_OWN.hotkey: 3 * 10**12}
    await _until(lambda: clock.block() == _FIRST_BLOCK + 2)


async def test_the_block_never_goes_back(scene: Scene) -> None:
    node, clock = await _started(scene)
    fork, fork_port = await scene.node("two", copy_of="one")
    _grow(node, 45)
    await _until(lambda: clock.block() == 43)
    _grow(fork, 43)
    await scene.proxy.lead_to(fork_port)
    fork_head = await clock.chain.head()
    await clock._follow(fork_head)
    assert (fork_head, clock.block()) == (43, 43)


@pytest.mark.parametrize(
    ("lie", "why"), [(5, "went back from block 40 to 5"), (3000, "jumped from block 40 to")]
)
async def test_a_chain_that_lies_about_its_block_is_not_followed(scene: Scene, lie: int, why: str) -> None:
    scene.block_s = 5.0
    _, clock = await _started(scene)
    honest_port = scene.proxy.target
    liar, liar_port = await scene.node("liar")
    _grow(liar, lie)
    await scene.proxy.lead_to(liar_port)
    await _until(lambda: why in str(clock.why_not_ready()))
    assert clock.block() == 38
    await scene.proxy.lead_to(honest_port)
    await _until(lambda: clock.why_not_ready() is None)


async def test_a_lie_is_noticed_by_the_first_reading_after_a_restart(scene: Scene) -> None:
    node, clock = await _started(scene)
    _grow(node, _FIRST_BLOCK + 3)
    await _until(lambda: clock.snapshot(2))
    await scene.stop_clocks()
    liar, liar_port = await scene.node("liar")
    _grow(liar, 10)
    await scene.proxy.lead_to(liar_port)
    again = await scene.clock()
    await _until(lambda: "went back from block 46 to 10" in str(again.why_not_ready()))
    assert again.block() is None


@pytest.mark.parametrize(
    ("known", "told", "elapsed_s", "believed"),
    [
        (None, 7_000_000, 0.0, True),
        (None, -1, 0.0, False),
        (1000, 1001, 12.0, True),
        (1000, 980, 12.0, True),
        (1000, 979, 12.0, False),
        (1000, 1022, 12.0, True),
        (1000, 1023, 12.0, False),
        (1000, 1300, 3600.0, True),
        (1000, 3000, 3600.0, False),
    ],
)
def test_a_head_is_believed_within_what_its_pace_allows(
    known: int | None, told: int, elapsed_s: float, believed: bool
) -> None:
    assert (why_unbelievable(known, told, elapsed_s, 12.0) is None) == believed
