"""A cycle's weights reach a real chain, in every mode and whatever breaks in between."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import bittensor as bt
import bittensor_core
import pytest

from horde_agents.agents.validator.weights.setter import WeightSetter
from horde_agents.clients.chain import BittensorChain
from horde_agents.clients.chain_weights import BittensorWeights
from horde_agents.devchain.beacon import install_beacon
from horde_agents.devchain.node import Node, running_node
from horde_agents.devchain.server import serving
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.scoring.result import MinerScore, Result
from horde_agents.store import weight_settings
from horde_agents.store.engine import Store, open_store
from horde_agents.store.weight_settings import WeightMode, WeightSetting, WeightState
from tests.fixtures.tcp_proxy import Proxy, proxied
from tests.fixtures.waiting import eventually
from tests.integration.devchain.conftest import NETUID, Chain, btcli

_UIDS, _VALUES = (1, 2), (20_000, 65_535)
_ROW = dict(zip(_UIDS, _VALUES, strict=True))
_NAMES = ("miner", "other-miner")


def _hotkey(name: str) -> str:
    return KeypairSigner.from_uri(f"//{name}").hotkey


def _result(cycle: int, values: tuple[int, ...] = _VALUES) -> Result:
    miners = tuple(
        MinerScore(_hotkey(name), "", uid, (), 0, 0, value, "")
        for name, uid, value in zip(_NAMES, _UIDS, values, strict=True)
    )
    return Result(cycle, NETUID, _UIDS, values, miners, "0", "")


@dataclass
class Scene:
    """A chain behind a door, and validators' setters."""

    folder: Path
    stack: AsyncExitStack
    node: Node
    proxy: Proxy
    chain_port: int
    loops: list[asyncio.Task[None]] = field(default_factory=list)
    hides: bool = True

    @property
    def url(self) -> str:
        """Where validators find the chain."""
        return f"ws://127.0.0.1:{self.proxy.port}"

    def register(self, name: str, tao: int = 0) -> int:
        """Give a hotkey a UID, and a permit with its stake."""
        hotkey = _hotkey(name)
        uid = self.node.change("register", [NETUID, hotkey, hotkey])
        if tao:
            self.node.change("setStake", [NETUID, hotkey, tao * 10**9])
        assert isinstance(uid, int)
        return uid

    def set(self, item: str, value: object, *key: object) -> None:
        """A parameter of the subnet, or what it keeps for a key."""
        self.node.change("setStorage", ["SubtensorModule", item, [NETUID, *key], value])

    def hand_over(self, uid: int, name: str, to: str) -> None:
        """A stranger registers, and the chain gives it the UID of another hotkey."""
        self.set("Uids", None, _hotkey(name))
        self.set("Uids", uid, _hotkey(to))
        self.set("Keys", _hotkey(to), uid)

    async def store(self, name: str = "validator") -> Store:
        """A validator's database."""
        return await self.stack.enter_async_context(open_store(f"sqlite:///{self.folder}/{name}.sqlite3"))

    def setter(self, store: Store, scheme: WeightMode, name: str = "validator") -> WeightSetter:
        """A setter at work."""
        chain = BittensorChain(self.url, NETUID, KeypairSigner.from_uri(f"//{name}"))
        self.stack.push_async_callback(chain.close)
        setter = WeightSetter(BittensorWeights(chain), store, NETUID, lambda: self.hides, scheme, 0.1)
        self.loops.append(asyncio.create_task(setter.serve()))
        return setter

    async def stop(self) -> None:
        """End all setters."""
        while self.loops:
            self.loops[-1].cancel()
            await asyncio.wait([self.loops.pop()])

    def row(self, uid: int = 0) -> dict[int, int]:
        """A row as the chain keeps it."""
        return dict(self.node.chain.subnets.read("Weights", NETUID, uid))

    def sent(self) -> int:
        """Extrinsics of all blocks, those that every block has left out."""
        return sum(len(block.extrinsics) - 1 for block in self.node.chain.blocks.values() if block.number)


@pytest.fixture
async def scene(chain: Chain, tmp_path: Path) -> AsyncIterator[Scene]:
    """The quick chain with one validator and two miners."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxied(chain.port))
        scene = Scene(tmp_path, stack, chain.node, proxy, chain.port)
        scene.register("validator", 1000)
        scene.register("miner")
        scene.register("other-miner")
        yield scene
        await scene.stop()


@pytest.fixture
def beacon(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bittensor_core, "get_encrypted_commit_v2", bittensor_core.get_encrypted_commit_v2)
    install_beacon("0x" + chain.node.chain.genesis_hash.hex())


async def _settings(store: Store) -> dict[int, WeightSetting]:
    async with store.reading() as connection:
        return {setting.cycle: setting for setting in await weight_settings.newest(connection, 10)}


async def _until(store: Store, fact: Callable[[WeightSetting], object], cycle: int = 5) -> WeightSetting:
    async def look() -> WeightSetting | None:
        setting = (await _settings(store)).get(cycle)
        return setting if setting is not None and fact(setting) else None

    return await eventually(look, 45.0)


def _is(state: WeightState) -> Callable[[WeightSetting], object]:
    return lambda setting: setting.state is state


@pytest.mark.parametrize("mode", list(WeightMode))
@pytest.mark.usefixtures("beacon")
async def test_weights_reach_the_chain_and_the_stock_sdk_reads_them(scene: Scene, mode: WeightMode) -> None:
    scene.set("CommitRevealWeightsEnabled", mode is not WeightMode.PLAIN)
    store = await scene.store()
    setter = scene.setter(store, mode if mode is not WeightMode.PLAIN else WeightMode.TIMELOCKED)
    await setter.put(_result(5))
    confirmed = await _until(store, _is(WeightState.CONFIRMED))
    assert (confirmed.mode, confirmed.tries, scene.row()) == (mode, 1, _ROW)
    async with bt.Subtensor(scene.url) as client:
        rows = await client.weights.weights(NETUID)
    assert rows[0][2] / rows[0][1] == pytest.approx(65_535 / 20_000)
    assert scene.sent() == (2 if mode is WeightMode.SALTED else 1)


@pytest.mark.parametrize("mode", list(WeightMode))
@pytest.mark.usefixtures("beacon")
async def test_stock_btcli_reads_the_weights(scene: Scene, tmp_path: Path, mode: WeightMode) -> None:
    scene.set("CommitRevealWeightsEnabled", mode is not WeightMode.PLAIN)
    store = await scene.store()
    await scene.setter(store, mode).put(_result(5))
    await _until(store, _is(WeightState.CONFIRMED))
    words = ("query", "weights", "--netuid", str(NETUID), "-n", scene.url, "--json")
    shown = json.loads(await asyncio.to_thread(btcli, tmp_path, *words))
    assert str(65_535 / 85_535)[:6] in json.dumps(shown)


async def test_two_validators_on_one_chain_both_succeed(scene: Scene) -> None:
    uid = scene.register("second", 500)
    first, second = await scene.store("first"), await scene.store("second")
    await scene.setter(first, WeightMode.TIMELOCKED).put(_result(5))
    await scene.setter(second, WeightMode.TIMELOCKED, "second").put(_result(5, (65_535, 1)))
    await _until(first, _is(WeightState.CONFIRMED))
    await _until(second, _is(WeightState.CONFIRMED))
    assert (scene.row(0), scene.row(uid)) == (_ROW, {1: 65_535, 2: 1})


async def test_a_validator_without_a_permit_waits_with_the_remedy_and_sends_nothing(scene: Scene) -> None:
    store = await scene.store()
    setter = scene.setter(store, WeightMode.TIMELOCKED, "miner")
    await setter.put(_result(5))
    waiting = await _until(store, lambda setting: setting.why)
    assert (waiting.state, waiting.tries, scene.sent()) == (WeightState.STORED, 0, 0)
    assert "has no validator permit; more stake gives one" in waiting.why
    scene.register("miner", 100)
    await _until(store, _is(WeightState.CONFIRMED))


async def test_how_long_weights_have_waited_is_told_until_the_chain_has_them(scene: Scene) -> None:
    store = await scene.store()
    told: list[float] = []
    setter = scene.setter(store, WeightMode.TIMELOCKED, "miner")
    setter.waits = told.append
    await setter.put(_result(5))
    await _until(store, lambda setting: setting.why)
    assert max(told) > 0
    scene.register("miner", 100)
    await _until(store, _is(WeightState.CONFIRMED))

    async def nothing_waits() -> bool:
        return told[-1] == 0

    await eventually(nothing_waits, 45.0)


async def test_an_unregistered_validator_waits_with_the_remedy(scene: Scene) -> None:
    store = await scene.store()
    await scene.setter(store, WeightMode.TIMELOCKED, "stranger").put(_result(5))
    waiting = await _until(store, lambda setting: setting.why)
    assert "not registered on the subnet; register it" in waiting.why


async def test_the_rate_limit_is_kept_and_then_the_weights_go_out(scene: Scene) -> None:
    scene.set("WeightsSetRateLimit", 40)
    store = await scene.store()
    setter = scene.setter(store, WeightMode.TIMELOCKED)
    await setter.put(_result(5))
    first = await _until(store, _is(WeightState.CONFIRMED))
    await setter.put(_result(6, (65_535, 9)))
    waiting = await _until(store, lambda setting: setting.why, 6)
    assert "the subnet allows it every 40 blocks" in waiting.why
    second = await _until(store, _is(WeightState.CONFIRMED), 6)
    assert second.block - first.block >= 40
    assert (second.tries, scene.sent()) == (1, 2)


async def test_a_newer_cycle_takes_the_place_of_weights_that_never_went_out(scene: Scene) -> None:
    await scene.proxy.lead_to(None)
    store = await scene.store()
    setter = scene.setter(store, WeightMode.TIMELOCKED)
    for cycle in (5, 6, 7):
        await setter.put(_result(cycle, (65_535, cycle)))
    await eventually(lambda: _trouble(setter), 30.0)
    await scene.proxy.lead_to(scene.chain_port)
    await _until(store, _is(WeightState.CONFIRMED), 7)
    settings = await _settings(store)
    assert [settings[cycle].state for cycle in (5, 6)] == [WeightState.SUPERSEDED] * 2
    assert (scene.row(), scene.sent()) == ({1: 65_535, 2: 7}, 1)


async def _trouble(setter: WeightSetter) -> str:
    return setter.trouble


async def test_an_outage_in_the_middle_of_hidden_weights_only_delays_them(scene: Scene) -> None:
    scene.set("CommitRevealWeightsEnabled", True)
    store = await scene.store()
    setter = scene.setter(store, WeightMode.SALTED)
    await setter.put(_result(5))
    await _until(store, _is(WeightState.SENT))
    await scene.proxy.lead_to(None)
    began = scene.node.chain.number
    await eventually(lambda: _passed(scene.node, began + 45), 30.0)  # the epoch of the reveal goes by
    await scene.proxy.lead_to(scene.chain_port)
    confirmed = await _until(store, _is(WeightState.CONFIRMED))
    assert (confirmed.tries, scene.row()) == (2, _ROW)


async def _passed(node: Node, block: int) -> bool:
    return node.chain.number >= block


async def test_a_uid_that_changes_hands_while_weights_wait_gets_none_even_after_a_restart(
    scene: Scene,
) -> None:
    scene.set("WeightsSetRateLimit", 10_000)
    scene.set("LastUpdate", [1, 0, 0])
    store = await scene.store()
    await scene.setter(store, WeightMode.TIMELOCKED).put(_result(5))
    await _until(store, lambda setting: "allows it every" in setting.why)
    await scene.stop()
    scene.hand_over(2, "other-miner", "stranger")
    scene.set("WeightsSetRateLimit", 0)
    scene.setter(store, WeightMode.TIMELOCKED)
    confirmed = await _until(store, _is(WeightState.CONFIRMED))
    assert (scene.row(), confirmed.hotkeys) == ({1: 65_535}, (_hotkey("miner"),))


async def test_a_uid_that_changes_hands_after_a_commit_gets_none_of_the_next_one(scene: Scene) -> None:
    scene.set("CommitRevealWeightsEnabled", True)
    store = await scene.store()
    setter = scene.setter(store, WeightMode.SALTED)
    await setter.put(_result(5))
    await _until(store, _is(WeightState.SENT))
    await scene.proxy.lead_to(None)
    began = scene.node.chain.number
    await eventually(lambda: _passed(scene.node, began + 45), 30.0)  # the epoch of the reveal goes by
    scene.hand_over(1, "miner", "stranger")
    await scene.proxy.lead_to(scene.chain_port)
    confirmed = await _until(store, _is(WeightState.CONFIRMED))
    assert (confirmed.tries, scene.row()) == (2, {2: 65_535})


async def test_the_same_cycle_is_stored_and_sent_once(scene: Scene) -> None:
    store = await scene.store()
    setter = scene.setter(store, WeightMode.TIMELOCKED)
    await setter.put(_result(5))
    await _until(store, _is(WeightState.CONFIRMED))
    await setter.put(_result(5, (65_535, 1)))
    assert (await _settings(store))[5].values == _VALUES
    assert scene.sent() == 1


async def test_the_knob_off_on_a_subnet_that_hides_weights_is_said_and_turning_it_on_applies(
    scene: Scene,
) -> None:
    scene.set("CommitRevealWeightsEnabled", True)
    scene.hides = False
    store = await scene.store()
    await scene.setter(store, WeightMode.SALTED).put(_result(5))
    waiting = await _until(store, lambda setting: setting.why)
    assert "the knob commit_reveal is off" in waiting.why
    scene.hides = True
    await _until(store, _is(WeightState.CONFIRMED))


async def test_salts_reach_no_log(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.set("CommitRevealWeightsEnabled", True)
    store = await scene.store()
    await scene.setter(store, WeightMode.SALTED).put(_result(5))
    sent = await _until(store, _is(WeightState.SENT))
    assert len(sent.salt) == 8
    printed = capsys.readouterr()
    assert "state=sent" in printed.out + printed.err
    assert not any(str(number) in printed.out + printed.err for number in sent.salt if number > 9999)


#: A validator's setter as a process that can be killed; it says when its row is in the database.
_PROCESS = """
import asyncio, sys
from horde_agents.agents.validator.weights.setter import WeightSetter
from horde_agents.clients.chain import BittensorChain
from horde_agents.clients.chain_weights import BittensorWeights
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.scoring.result import Result
from horde_agents.store.engine import open_store
from horde_agents.store.weight_settings import WeightMode

async def main(url, database):
    async with open_store(database) as store:
        chain = BittensorChain(url, 12, KeypairSigner.from_uri("//validator"))
        setter = WeightSetter(BittensorWeights(chain), store, 12, lambda: True, WeightMode(sys.argv[3]), 0.1)
        await setter.put(Result.from_json(sys.argv[4]))
        print("stored", flush=True)
        await setter.serve()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@dataclass
class Killable:
    """The chain makes blocks on demand, so that what is sent stays in its pool until then."""

    scene: Scene
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """As ``kill -9``."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def grow(self, blocks: int) -> None:
        """More blocks."""
        for _ in range(blocks):
            self.scene.node.new_block()


async def _killable(
    tmp_path: Path, stack: AsyncExitStack, scheme: WeightMode, answers: bool = True
) -> Killable:
    node = await stack.enter_async_context(
        running_node(tmp_path / "demand.jsonl", block_time_s=0, netuids=(NETUID,), tempo=10)
    )
    port = await stack.enter_async_context(serving(node, "127.0.0.1", 0))
    proxy = await stack.enter_async_context(proxied(port if answers else None))
    scene = Scene(tmp_path, stack, node, proxy, port)
    for name, tao in (("validator", 1000), ("miner", 0), ("other-miner", 0)):
        scene.register(name, tao)
    scene.set("CommitRevealWeightsEnabled", scheme is not WeightMode.PLAIN)
    for _ in range(3):
        node.new_block()
    command = [
        sys.executable,
        "-c",
        _PROCESS,
        scene.url,
        f"sqlite:///{tmp_path}/validator.sqlite3",
        scheme.value,
        _result(5).to_json(),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    stack.callback(process.kill)
    await asyncio.to_thread(process.stdout.readline)
    return Killable(scene, process)


async def _keep_growing(killable: Killable) -> None:
    while True:
        killable.grow(1)
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("scheme", [WeightMode.PLAIN, WeightMode.SALTED])
async def test_a_kill_between_sending_and_the_block_sends_nothing_twice(
    tmp_path: Path, scheme: WeightMode
) -> None:
    async with AsyncExitStack() as stack:
        killable = await _killable(tmp_path, stack, scheme)
        await eventually(lambda: _has_pending(killable.scene.node), 45.0)
        killable.kill()
        killable.grow(2)
        await _confirmed_after_restart(stack, killable, scheme)
        assert killable.scene.sent() == (2 if scheme is WeightMode.SALTED else 1)


async def test_a_kill_between_storing_and_sending_loses_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        killable = await _killable(tmp_path, stack, WeightMode.PLAIN, answers=False)
        killable.kill()
        await killable.scene.proxy.lead_to(killable.scene.chain_port)
        await _confirmed_after_restart(stack, killable, WeightMode.PLAIN)
        assert killable.scene.sent() == 1


async def _has_pending(node: Node) -> bool:
    return node.chain.next_nonce(KeypairSigner.from_uri("//validator").hotkey) > 0


async def _confirmed_after_restart(stack: AsyncExitStack, killable: Killable, scheme: WeightMode) -> None:
    scene = killable.scene
    store = await scene.store()
    scene.setter(store, scheme)
    growing = asyncio.create_task(_keep_growing(killable))
    try:
        await _until(store, _is(WeightState.CONFIRMED))
    finally:
        growing.cancel()
        await scene.stop()
    assert scene.row() == _ROW
