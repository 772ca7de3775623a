"""An attempt whose holder Nomad has ended fails at once and says why; grace is for links that break."""

from collections.abc import Awaitable, Callable

import pytest

from horde_agents.clients.nomad_rows import Allocation, Child
from tests.fixtures.waiting import eventually
from tests.integration.nomad.conftest import A6000, CPU, FAILED, Horde, kill

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]
End = Callable[[Horde, Child, Allocation], Awaitable[None]]


async def job_stop(horde: Horde, child: Child, _: Allocation) -> None:
    horde.operator("job", "stop", "-detach", child.job_id)


async def alloc_stop(horde: Horde, _: Child, allocation: Allocation) -> None:
    horde.operator("alloc", "stop", "-detach", allocation.allocation_id)


async def crash(_horde: Horde, _child: Child, allocation: Allocation) -> None:
    kill(allocation.allocation_id)


@pytest.mark.parametrize(
    ("end", "words"),
    [(job_stop, ""), (alloc_stop, ""), (crash, "holder")],
    ids=["job stop", "alloc stop", "crash"],
)
async def test_attempt_on_a_holder_that_ended_fails_long_before_its_grace(
    horde: Horde, end: End, words: str
) -> None:
    async with horde.miner({CPU: 1}) as miner:
        await horde.until_served(miner, CPU, 1)
        before = await horde.living()
        async with miner.validator() as peer:
            talk = await horde.accepted(miner, peer, CPU)
            await talk.begin("sleep 600")
            await end(horde, *before[0])
            failed = await talk.last(*FAILED)
            text = f"{failed.get('message', '')}{failed.get('docker_process_stderr', '')}"
            assert words in text
        await horde.until_replaced(before, 1)
        await horde.until_served(miner, CPU, 1)


@pytest.mark.usefixtures("all_gpus")
async def test_holders_of_a_drained_node_end_after_their_job_and_come_back(horde: Horde) -> None:
    node = horde.stage.nodes["gpu1"]
    async with horde.miner({A6000: -1}) as miner:
        await horde.until_served(miner, A6000, 4)
        async with miner.validator() as peer:
            talks = [await horde.accepted(miner, peer, A6000) for _ in range(4)]
            for talk in talks:
                await talk.begin("sleep 4; echo done")
            horde.operator("node", "drain", "-enable", "-yes", "-detach", node.node_id())
            try:
                for talk in talks:
                    assert await talk.output() == "done\n"

                async def off() -> bool:
                    return {row.node_name for _, row in await horde.living()} == {"gpu2"}

                await eventually(off)
                assert {slot.node for slot in await horde.until_kept(A6000, 2)} == {"gpu2"}
            finally:
                horde.operator("node", "drain", "-disable", "-yes", "-keep-ineligible", node.node_id())
                horde.operator("node", "eligibility", "-enable", node.node_id())
        await horde.until_kept(A6000, 4)
        await horde.until_served(miner, A6000, 4)
