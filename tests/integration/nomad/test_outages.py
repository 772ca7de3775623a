"""Miners while Nomad is away or denies them: they say so, serve what is there, and go on afterwards."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from horde_agents.testing.server_process import free_ports
from tests.contract.nomad.conftest import Link
from tests.fixtures.waiting import eventually
from tests.integration.nomad.conftest import CPU, DECLINED, ON_DEMAND, Horde

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]
Logged = Callable[[str], bool]


async def test_miner_starts_without_nomad_and_serves_on_when_it_is_away_again(
    horde: Horde, logged: Logged
) -> None:
    link, (port,) = Link(horde.stage.server.ports["http"]), free_ports(1)
    async with horde.miner({CPU: 1, ON_DEMAND: 1}, nomad_urls=[f"http://127.0.0.1:{port}"]) as miner:
        await eventually(_said(logged, "holders are not kept now"))
        assert logged("does not answer")
        async with miner.validator() as peer:
            declined = await (await horde.offered(miner, peer, ON_DEMAND)).last(DECLINED)
            assert declined["reason"] == "busy"
            assert "Nomad" in declined["message"]
        async with await asyncio.start_server(link.carried, "127.0.0.1", port):
            await horde.until_served(miner, CPU, 1)
        await link.cut()
        async with miner.validator() as peer:
            talk = await horde.accepted(miner, peer, CPU)
            await talk.begin("echo without Nomad")
            assert await talk.output() == "without Nomad\n"


async def test_token_that_cannot_be_read_is_named_and_used_when_it_is_there(
    horde: Horde, logged: Logged
) -> None:
    file = horde.folder / "nomad.token"
    async with horde.miner({CPU: 1}, nomad_token_file=file):
        await eventually(_said(logged, "holders are not kept now"))
        assert logged("nomad.token")
        file.write_text("any: this Nomad asks for none\n")
        await horde.until_kept(CPU, 1)


def _said(logged: Logged, words: str) -> Callable[[], Awaitable[bool]]:
    async def said() -> bool:
        return logged(words)

    return said
