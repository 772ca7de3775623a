"""What the chain keeps, and what it answers to peers that do not know the protocol."""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from bittensor_core import Keypair

from horde_agents.cli.devchain import DevchainRefused, call
from horde_agents.devchain.journal import JournalUnreadable
from horde_agents.devchain.node import running_node
from horde_agents.devchain.subnets import Refused
from tests.integration.devchain.conftest import NETUID, Chain, btcli

HOT = Keypair.create_from_uri("//Alice//hot").ss58_address
COLD = Keypair.create_from_uri("//Alice").ss58_address


async def test_a_restart_keeps_blocks_neurons_and_genesis(tmp_path: Path) -> None:
    journal = tmp_path / "chain.jsonl"
    async with running_node(journal, block_time_s=0, netuids=(12,)) as node:
        node.change("register", [NETUID, HOT, COLD])
        node.new_block()
        before = node.new_block()
        genesis = node.chain.genesis_hash
    async with running_node(journal, block_time_s=0, netuids=(99,)) as node:
        assert (node.chain.head, node.chain.genesis_hash) == (before, genesis)
        assert node.chain.subnets.uid(NETUID, HOT) == 0


async def test_a_half_written_line_is_dropped(tmp_path: Path) -> None:
    journal = tmp_path / "chain.jsonl"
    async with running_node(journal, block_time_s=0) as node:
        node.new_block()
    with journal.open("a") as file:
        file.write('{"at": 17')
    async with running_node(journal, block_time_s=0) as node:
        assert node.chain.number == 1
        node.new_block()
    async with running_node(journal, block_time_s=0) as node:
        assert node.chain.number == 2


async def test_a_damaged_journal_is_refused_with_the_remedy(tmp_path: Path) -> None:
    journal = tmp_path / "chain.jsonl"
    journal.write_text("no journal\n")
    with pytest.raises(JournalUnreadable, match="move it away to begin anew"):
        async with running_node(journal, block_time_s=0):
            pass


async def test_a_refused_change_leaves_no_trace(tmp_path: Path) -> None:
    journal = tmp_path / "chain.jsonl"
    async with running_node(journal, block_time_s=0) as node:
        with pytest.raises(Refused, match="SubnetNotExists"):
            node.change("register", [77, HOT, COLD])
    assert '"change"' not in journal.read_text()


def test_what_was_in_a_block_survives_a_kill(tmp_path: Path) -> None:
    def started() -> "tuple[subprocess.Popen[str], str]":
        command = [
            sys.executable,
            "-m",
            "horde_agents",
            "devchain",
            "serve",
            "--port",
            "0",
            "--block-time-s",
            "0",
        ]
        process = subprocess.Popen(
            [*command, "--journal", str(tmp_path / "chain.jsonl")], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        return process, line.split("ws://")[1].split(",")[0]

    first, address = started()
    uid = asyncio.run(call(f"http://{address}", "dev_register", [NETUID, HOT, COLD]))
    head = asyncio.run(call(f"http://{address}", "dev_newBlock", [3]))
    first.kill()
    first.wait()
    second, address = started()
    try:
        assert asyncio.run(call(f"http://{address}", "chain_getHead", [])) == head
        assert asyncio.run(call(f"http://{address}", "dev_register", [NETUID, HOT, COLD])) == uid
    finally:
        second.terminate()
        second.wait()
    if second.stderr:
        second.stderr.close()
    if first.stderr:
        first.stderr.close()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", -32700),
        ("[" * 100_000, -32700),
        ("17", -32600),
        ('{"id":1,"method":7}', -32600),
        ('{"id":1,"method":"no_such_method"}', -32601),
        ('{"id":1,"method":"chain_getBlockHash","params":"x"}', -32600),
        ('{"id":1,"method":"state_getStorage","params":["0xzz"]}', -32602),
        ('{"id":1,"method":"state_getStorage","params":["0x00","0x12"]}', -32602),
        ('{"id":1,"method":"state_call","params":["NoApi_no_method","0x"]}', -32602),
        ('{"id":1,"method":"author_submitExtrinsic","params":["0x00"]}', 1010),
    ],
)
async def test_a_wrong_frame_gets_an_error_and_the_chain_goes_on(chain: Chain, sent: str, code: int) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(chain.url) as socket:
        await socket.send_str(sent)
        answer: dict[str, Any] = json.loads(await socket.receive_str(timeout=5))
        assert answer["error"]["code"] == code
        await socket.send_str('{"jsonrpc":"2.0","id":2,"method":"chain_getHead"}')
        assert json.loads(await socket.receive_str(timeout=5))["result"].startswith("0x")


async def test_an_oversized_frame_ends_its_connection_alone(chain: Chain) -> None:
    async with aiohttp.ClientSession() as http:
        with contextlib.suppress(ConnectionError):  # it may hang up in the middle
            async with http.ws_connect(chain.url, max_msg_size=0) as socket:
                await socket.send_str("x" * (17 * 1024 * 1024))
                ended = (await socket.receive(timeout=10)).type
                assert ended in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
        async with http.post(
            f"http://127.0.0.1:{chain.port}/", data='{"id":1,"method":"chain_getHead"}'
        ) as reply:
            assert (await reply.json())["result"].startswith("0x")


async def test_a_refused_call_is_one_sentence(chain: Chain) -> None:
    with pytest.raises(DevchainRefused, match="SubnetNotExists"):
        await call(f"http://127.0.0.1:{chain.port}", "dev_register", [77, HOT, COLD])


@pytest.fixture
def served_chain(tmp_path: Path) -> Any:
    """A chain in a process of its own, so that a blocking btcli can talk to it."""
    command = [
        sys.executable,
        "-m",
        "horde_agents",
        "devchain",
        "serve",
        "--port",
        "0",
        "--block-time-s",
        "0.25",
    ]
    process = subprocess.Popen(
        [*command, "--journal", str(tmp_path / "chain.jsonl"), "--tempo", "10"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = process.stderr.readline().split("ws://")[1].split(",")[0]
    yield f"ws://{address}"
    process.terminate()
    process.wait()
    process.stderr.close()


#: The public development seed of //Alice.
ALICE_SEED = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a"


def test_btcli_registers_stakes_and_reads_the_metagraph(tmp_path: Path, served_chain: str) -> None:
    key = ["-w", "alice", "-H", "default"]
    btcli(tmp_path, "wallet", "regen-coldkey", "-w", "alice", "--no-password", "--seed", ALICE_SEED)
    btcli(tmp_path, "wallet", "new-hotkey", *key)
    network = ["-n", served_chain]
    btcli(tmp_path, "subnets", "register", "--netuid", str(NETUID), *key, *network, "--yes")
    btcli(tmp_path, "stake", "add", "--netuid", str(NETUID), "--amount-tao", "50", *key, *network, "--yes")
    shown = btcli(tmp_path, "subnets", "metagraph", str(NETUID), *network, "--json")
    hotkey = json.loads((tmp_path / ".bittensor/wallets/alice/hotkeys/default").read_text())["ss58Address"]
    assert hotkey in shown
    assert "50" in shown
