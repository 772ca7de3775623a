"""The unmodified Bittensor SDK against the development chain."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import bittensor as bt
import bittensor_core
import pytest

from horde_agents.devchain.beacon import NotADevchain, install_beacon
from horde_agents.devchain.weights import salted_hash
from tests.integration.devchain.conftest import NETUID, OTHER_NETUID, Chain, wallet

TAO = 10**9


@pytest.fixture
async def client(chain: Chain) -> AsyncIterator[Any]:
    client = bt.Client(chain.url)
    await client.connect()
    yield client
    await client.close()


async def registered(client: Any, name: str, netuid: int = NETUID) -> Any:
    key = wallet(name)
    result = await client.execute(bt.BurnedRegister(netuid=netuid, hotkey_ss58=key.hotkey.ss58_address), key)
    assert result.success, result
    return key


async def staked(client: Any, key: Any, rao: int) -> None:
    call = bt.calls.SubtensorModule.add_stake(
        hotkey=key.hotkey.ss58_address, netuid=NETUID, amount_staked=rao
    )
    if not (await client.submit_call(call, key)).success:
        again = await client.submit_call(call, key)  # the SDK's nonce cache runs behind after a shielded call
        assert again.success, again


async def test_sdk_registers_stakes_serves_an_axon_and_reads_the_metagraph(chain: Chain, client: Any) -> None:
    alice = await registered(client, "Alice")
    bob = await registered(client, "Bob")
    await staked(client, alice, 5000 * TAO)
    served = await client.execute(bt.ServeAxon(netuid=NETUID, ip="203.0.113.5", port=8091), bob)
    assert served.success, served
    await client.wait_for_epoch(NETUID, timeout=20)
    graph = await client.subnets.metagraph(NETUID)
    first, second = graph.neurons
    assert (first.hotkey, first.validator_permit) == (alice.hotkey.ss58_address, True)
    assert first.total_stake.rao == 5000 * TAO
    assert (second.hotkey, second.axon, second.validator_permit) == (
        bob.hotkey.ss58_address,
        "203.0.113.5:8091",
        False,
    )


async def test_subnets_have_neurons_of_their_own(chain: Chain, client: Any) -> None:
    bob = await registered(client, "Bob", OTHER_NETUID)
    alice = await registered(client, "Alice")
    for netuid, key in ((NETUID, alice), (OTHER_NETUID, bob)):
        graph = await client.subnets.metagraph(netuid)
        assert [(neuron.uid, neuron.hotkey) for neuron in graph.neurons] == [(0, key.hotkey.ss58_address)]


async def test_sdk_sets_plain_weights(chain: Chain, client: Any) -> None:
    alice = await registered(client, "Alice")
    await registered(client, "Bob")
    await staked(client, alice, 1000 * TAO)
    await client.wait_for_epoch(NETUID, timeout=20)
    result = await client.execute(bt.SetWeights(netuid=NETUID, uids=[0, 1], weights=[0.25, 0.75]), alice)
    assert result.success, result
    rows = await client.weights.weights(NETUID)
    assert rows[0][1] == pytest.approx(0.75, abs=1e-4)


async def test_salted_commit_is_revealed_in_its_epoch_and_not_before(chain: Chain, client: Any) -> None:
    alice = await registered(client, "Alice")
    await registered(client, "Bob")
    await staked(client, alice, 1000 * TAO)
    await hidden_weights(client, alice)
    await client.wait_for_epoch(NETUID, timeout=20)
    uids, values, salt = [0, 1], [65535, 100], [1, 2, 3]
    digest = salted_hash(alice.hotkey.ss58_address, NETUID, uids, values, salt, 0)
    commit = bt.calls.SubtensorModule.commit_weights(netuid=NETUID, commit_hash=digest)
    assert (await client.submit_call(commit, alice, signer="hotkey")).success
    reveal = bt.RevealWeights(netuid=NETUID, uids=uids, weights=[float(v) for v in values], salt=salt)
    early = await client.execute(reveal, alice)
    assert not early.success
    assert early.error.name == "RevealTooEarly"
    await client.wait_for_epoch(NETUID, timeout=20)
    result = await client.execute(reveal, alice)
    assert result.success, result
    assert (await client.weights.weights(NETUID))[0][0] == pytest.approx(65535 / 65635, abs=1e-4)


async def hidden_weights(client: Any, owner: Any) -> None:
    call = bt.calls.AdminUtils.sudo_set_commit_reveal_weights_enabled(netuid=NETUID, enabled=True)
    result = await client.submit_call(call, owner)
    assert result.success, result


async def test_timelocked_commit_stays_sealed_without_the_beacon(chain: Chain, client: Any) -> None:
    alice = await registered(client, "Alice")
    await staked(client, alice, 1000 * TAO)
    await hidden_weights(client, alice)
    await client.wait_for_epoch(NETUID, timeout=20)
    result = await client.execute(bt.SetWeights(netuid=NETUID, uids=[0], weights=[1.0]), alice)
    assert result.success, result
    assert result.data["reveal_round"] > 0
    await client.wait_for_epoch(NETUID, timeout=20)
    await client.wait_for_epoch(NETUID, timeout=20)
    pending = await client.weights.timelocked_weight_commits(NETUID)
    assert alice.hotkey.ss58_address in str(pending)
    assert (await client.weights.weights(NETUID)) == {}


async def test_timelocked_commit_is_revealed_with_the_beacon(
    chain: Chain, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bittensor_core, "get_encrypted_commit_v2", bittensor_core.get_encrypted_commit_v2)
    install_beacon("0x" + chain.node.chain.genesis_hash.hex())
    alice = await registered(client, "Alice")
    await registered(client, "Bob")
    await staked(client, alice, 1000 * TAO)
    await hidden_weights(client, alice)
    await client.wait_for_epoch(NETUID, timeout=20)
    result = await client.execute(bt.SetWeights(netuid=NETUID, uids=[0, 1], weights=[0.5, 0.5]), alice)
    assert result.success, result
    assert (await client.weights.weights(NETUID)) == {}
    async with asyncio.timeout(20):
        while not (rows := await client.weights.weights(NETUID)):
            await client.wait_for_epoch(NETUID, timeout=20)
    assert rows[0] == {0: pytest.approx(0.5), 1: pytest.approx(0.5)}


async def test_two_extrinsics_of_one_account_right_after_each_other_both_succeed(
    chain: Chain, client: Any
) -> None:
    bob = wallet("Bob")
    dave = wallet("Dave").hotkey.ss58_address
    other = bt.Client(chain.url)
    await other.connect()
    send = bt.Transfer(dest_ss58=dave, amount_tao=1.0)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(client.execute(send, bob))
        second = group.create_task(client.execute(send, bob))
    await other.close()
    assert first.result().success, first.result()
    assert second.result().success, second.result()
    assert (await client.balances.get(dave)).rao == 2 * TAO


async def test_an_unregistered_hotkey_gets_the_chains_own_error(chain: Chain, client: Any) -> None:
    result = await client.execute(bt.ServeAxon(netuid=NETUID, ip="203.0.113.5", port=1), wallet("Eve"))
    assert not result.success
    assert result.error.name == "HotKeyNotRegisteredInNetwork"


async def test_registering_twice_is_refused(chain: Chain, client: Any) -> None:
    await registered(client, "Alice")
    again = await client.execute(
        bt.BurnedRegister(netuid=NETUID, hotkey_ss58=wallet("Alice").hotkey.ss58_address), wallet("Alice")
    )
    assert not again.success


def test_the_beacon_refuses_another_chain() -> None:
    finney = "0x2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03"
    with pytest.raises(NotADevchain, match="leave --devchain-beacon out"):
        install_beacon(finney)
