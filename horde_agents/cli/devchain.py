"""``horde devchain``: run the development chain, and give it neurons."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from horde_agents.devchain.journal import JournalUnreadable
from horde_agents.devchain.metadata import MetadataMissing
from horde_agents.devchain.subnets import RAO
from horde_agents.runtime.logs import set_up_logs
from horde_agents.runtime.supervisor import until_told_to_stop

app = typer.Typer(help="A development chain that stock Bittensor tools talk to.", no_args_is_help=True)

Url = Annotated[str, typer.Option("--chain", help="The devchain's address.")]
_LOCAL = "http://127.0.0.1:9944"


class DevchainRefused(Exception):
    """The development chain said no, or does not answer."""


@app.command("serve")
def serve(
    journal: Annotated[Path, typer.Option(help="File that keeps the chain; made when it is missing.")] = Path(
        "devchain.jsonl"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on; keep it on loopback.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port for WebSocket and HTTP.")] = 9944,
    block_time_s: Annotated[
        float, typer.Option(help="Seconds between blocks; 0: only on dev_newBlock.", min=0)
    ] = 1.0,
    netuid: Annotated[list[int] | None, typer.Option(help="Subnets at genesis; may be repeated.")] = None,
    tempo: Annotated[int, typer.Option(help="Blocks between epochs of those subnets.", min=1)] = 20,
) -> None:
    """Run the chain until SIGTERM."""
    from horde_agents.devchain.node import running_node
    from horde_agents.devchain.server import serving

    set_up_logs("devchain")

    async def run() -> None:
        async with (
            running_node(journal, block_time_s=block_time_s, netuids=netuid or [12], tempo=tempo) as node,
            serving(node, host, port) as bound,
        ):
            typer.echo(
                f"devchain on ws://{host}:{bound}, genesis 0x{node.chain.genesis_hash.hex()}", err=True
            )
            await until_told_to_stop()

    try:
        asyncio.run(run())
    except (MetadataMissing, JournalUnreadable) as error:
        raise DevchainRefused(str(error)) from error


@app.command("register")
def register(
    netuid: Annotated[int, typer.Argument()],
    hotkey: Annotated[str, typer.Argument(help="ss58 address.")],
    coldkey: Annotated[str, typer.Argument(help="ss58 address of its owner.")],
    stake_tao: Annotated[float, typer.Option(help="Stake; more than 0 gives a validator permit.")] = 0.0,
    chain: Url = _LOCAL,
) -> None:
    """Register a neuron without a transaction."""
    uid = asyncio.run(call(chain, "dev_register", [netuid, hotkey, coldkey]))
    if stake_tao:
        asyncio.run(call(chain, "dev_setStake", [netuid, hotkey, int(stake_tao * RAO)]))
    typer.echo(f"uid {uid}")


async def call(url: str, method: str, params: list[Any]) -> Any:  # noqa: ANN401  (the method's own result)
    """One JSON-RPC call over HTTP.

    Raises:
        DevchainRefused: an error answer, or none.
    """
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    try:
        async with aiohttp.ClientSession() as http, http.post(url, data=json.dumps(request)) as reply:
            answer = await reply.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DevchainRefused(f"No devchain answers at {url}: {error!r}") from error
    if "error" in answer:
        raise DevchainRefused(
            f"{method}: {answer['error']['message']} {answer['error'].get('data', '')}".strip()
        )
    return answer["result"]
