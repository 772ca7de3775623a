"""What doctor says of an agent's hotkey on a chain."""

from pathlib import Path

from horde_agents.cli.checks.agents import miner_finding
from horde_agents.cli.checks.chain import Registration, miner_findings, validator_findings
from horde_agents.clients.chain import BittensorChain
from horde_agents.protocol.signing import KeypairSigner
from tests.integration.devchain.conftest import NETUID, Chain
from tests.integration.miner.conftest import serving

ALICE = KeypairSigner.from_uri("//alice-of-the-doctor")


async def of_miner(chain: Chain, served: tuple[str, int] | None) -> dict[str, tuple[bool, str]]:
    where = Registration(chain.url, NETUID, ALICE)
    found = [finding async for finding in miner_findings(where, served, miner_finding)]
    return {finding.check: (finding.fine, finding.says) for finding in found}


async def test_hotkey_that_is_not_registered_is_named(chain: Chain) -> None:
    found = await of_miner(chain, None)
    assert found["chain"][0]
    assert found["registration"][0] is False
    assert f"btcli subnets register --netuid {NETUID}" in found["registration"][1]


async def test_miner_is_reached_where_the_metagraph_has_it(chain: Chain, tmp_path: Path) -> None:
    chain.node.change("register", [NETUID, ALICE.hotkey, ALICE.hotkey])
    assert "no validator looks for it" in (await of_miner(chain, None))["axon"][1]
    async with serving(tmp_path) as miner:
        axon = ("127.0.0.1", miner.running.port)
        client = BittensorChain(chain.url, NETUID, ALICE)
        await client.serve_axon(*axon)
        await client.close()
        found = await of_miner(chain, axon)
        name = f"miner 127.0.0.1:{axon[1]}"
        assert found["axon"] == (True, f"127.0.0.1:{axon[1]}")
        assert found[name][0], found
        moved = await of_miner(chain, ("127.0.0.1", 1))
        assert f"the chain has 127.0.0.1:{axon[1]}, the settings 127.0.0.1:1" in moved["axon"][1]
    gone = await of_miner(chain, axon)
    assert gone[name][0] is False
    assert "open the port in the firewall" in gone[name][1]


async def test_validator_without_permit_is_told(chain: Chain) -> None:
    chain.node.change("register", [NETUID, ALICE.hotkey, ALICE.hotkey])
    where = Registration(chain.url, NETUID, ALICE)
    poor = {finding.check: finding async for finding in validator_findings(where)}
    assert "sets no weights" in poor["stake"].says
    chain.node.change("setStake", [NETUID, ALICE.hotkey, 10**15])
    rich = {finding.check: finding async for finding in validator_findings(where)}
    assert rich["stake"].says == "1,000,000 TAO, with a validator permit"


async def test_chain_that_does_not_answer_is_named() -> None:
    where = Registration("ws://127.0.0.1:9", NETUID, ALICE)
    (found,) = [finding async for finding in validator_findings(where)]
    assert (found.check, found.fine) == ("chain", False)
    assert "ws://127.0.0.1:9" in found.says
