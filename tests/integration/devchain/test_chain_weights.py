"""The agents' own way to set weights, on a development chain."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import bittensor_core
import pytest

from horde_agents.cli.devchain import call
from horde_agents.clients.chain import BittensorChain, ChainRefused
from horde_agents.clients.chain_weights import BittensorWeights, Row, Salted, is_same
from horde_agents.devchain.beacon import install_beacon
from horde_agents.protocol.signing import KeypairSigner
from tests.integration.devchain.conftest import NETUID, Chain

_ROW = Row((0, 1), (20_000, 65_535))


@pytest.fixture
async def client(chain: Chain) -> AsyncIterator[BittensorChain]:
    signer = KeypairSigner.from_uri("//validator")
    for name in (signer.hotkey, KeypairSigner.from_uri("//miner").hotkey):
        await call(f"http://127.0.0.1:{chain.port}", "dev_register", [NETUID, name, signer.hotkey])
    await call(f"http://127.0.0.1:{chain.port}", "dev_setStake", [NETUID, signer.hotkey, 10**15])
    opened = BittensorChain(chain.url, NETUID, signer)
    yield opened
    await opened.close()


async def _hide(chain: Chain) -> None:
    url = f"http://127.0.0.1:{chain.port}"
    await call(url, "dev_setStorage", ["SubtensorModule", "CommitRevealWeightsEnabled", [NETUID], True])


async def _until(wanted: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await wanted():
            await asyncio.sleep(0.1)


async def test_head_and_hashes_are_the_chains(chain: Chain, client: BittensorChain) -> None:
    async def has_begun() -> bool:
        return await client.head() > 0

    await _until(has_begun)
    head = await client.head()
    assert (await client.block_hash(head)).hex() == chain.node.chain.blocks[head].hash.removeprefix("0x")


async def test_a_metagraph_of_the_past_is_that_of_its_block(client: BittensorChain) -> None:
    head = await client.head()
    assert (await client.metagraph(head)).block_number == head
    assert (await client.metagraph(head)).find(client.signer.hotkey) is not None


async def test_a_plain_row_is_kept_as_foretold(client: BittensorChain) -> None:
    weights = BittensorWeights(client)
    await _until(lambda: _permitted(weights))
    await weights.set_plain(_ROW)
    kept = await weights.row(0)
    assert is_same(_ROW, kept)
    assert not is_same(Row((0, 1), (20_002, 65_535)), kept)
    assert not is_same(Row((1,), (65_535,)), kept)
    assert not is_same(Row((0, 1, 2), (20_000, 65_535, 5)), kept)


async def _permitted(weights: BittensorWeights) -> bool:
    return (await weights.terms()).has_permit


async def test_a_salted_row_is_revealed_in_its_epoch(chain: Chain, client: BittensorChain) -> None:
    weights, salted = BittensorWeights(client), Salted(_ROW, (1, 2, 3))
    await _until(lambda: _permitted(weights))
    await _hide(chain)
    terms = await weights.terms()
    assert terms.commit_reveal
    await weights.commit_salted(salted)
    assert await weights.has_salted(salted)
    assert not await weights.has_salted(Salted(_ROW, (3, 2, 1)))

    async def is_due() -> bool:
        return (await weights.terms()).epoch > terms.epoch + terms.reveal_epochs - 1

    await _until(is_due)
    await weights.reveal_salted(salted)
    assert is_same(_ROW, await weights.row(0))
    assert not await weights.has_salted(salted)


async def test_a_timelocked_row_opens_by_itself(
    chain: Chain, client: BittensorChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bittensor_core, "get_encrypted_commit_v2", bittensor_core.get_encrypted_commit_v2)
    install_beacon("0x" + chain.node.chain.genesis_hash.hex())
    weights = BittensorWeights(client)
    await _until(lambda: _permitted(weights))
    await _hide(chain)
    before = await weights.terms()
    assert await weights.commit_timelocked(_ROW) > 0
    after = await weights.terms()
    found = [await weights.timelocked_at(epoch) for epoch in range(before.epoch, after.epoch + 1)]
    assert max(block or 0 for block in found) > before.block
    assert await weights.row(0) == {}

    async def is_open() -> bool:
        return bool(await weights.row(0))

    await _until(is_open)
    assert is_same(_ROW, await weights.row(0))


async def test_a_validator_without_a_permit_is_told_so(client: BittensorChain) -> None:
    stranger = BittensorChain(client.url, NETUID, KeypairSigner.from_uri("//miner"))
    try:
        weights = BittensorWeights(stranger)
        assert not (await weights.terms()).has_permit
        with pytest.raises(ChainRefused):
            await weights.set_plain(_ROW)
    finally:
        await stranger.close()
