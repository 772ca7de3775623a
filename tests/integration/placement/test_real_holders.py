"""Two miners of one machine with real holder processes: slots dance and no executor is restarted."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from horde_agents.placement.records import SlotState
from tests.fixtures.waiting import eventually
from tests.integration.placement.conftest import CLASS, Shared
from tests.integration.placement.miners import PlacedMiner, serving

_HOLDER = b"horde_agents.agents.executor"
pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker_daemon")]


@asynccontextmanager
async def both(folder: Path, shared: Shared) -> AsyncIterator[tuple[PlacedMiner, PlacedMiner]]:
    async with (
        serving(folder, shared, "a", slots={CLASS: 2}) as a,
        serving(folder, shared, "b", slots={CLASS: 2}) as b,
    ):
        await a.until_offers(2)
        await b.until_offers(2)
        yield a, b


def executors() -> dict[int, int]:
    """Holders below this process, and the executor that each has now."""
    holders = [child for child in _children(os.getpid()) if _HOLDER in _command(child)]
    return {holder: child for holder in holders for child in _children(holder)}


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


async def test_dance_restarts_no_executor_and_loses_no_slot(shared: Shared, tmp_path: Path) -> None:
    async with both(tmp_path, shared) as (a, b):
        before, running = await shared.owners(), executors()
        after = before
        assert len(before) == len(running) == 4
        while after == before:  # a slot may go there and come back
            await shared.dance()
            after = await shared.owners()
        counts = [list(after.values()).count(miner.hotkey) for miner in (a, b)]
        await a.until_offers(counts[0])
        await b.until_offers(counts[1])
        assert sum(counts) == 4
        assert executors() == running


async def test_drained_miner_s_executors_serve_the_other(shared: Shared, tmp_path: Path) -> None:
    async with both(tmp_path, shared) as (a, b):
        running = executors()
        await shared.drain(a.hotkey)
        await b.until_offers(4)
        assert await a.offers() == 0
        assert executors() == running


async def test_slots_of_a_stopped_miner_return_with_its_holders(shared: Shared, tmp_path: Path) -> None:
    async with serving(tmp_path, shared, "a", slots={CLASS: 1}) as a:
        await a.until_offers(1)
        async with serving(tmp_path, shared, "b", slots={CLASS: 1}) as b:
            await b.until_offers(1)
            mine = {slot_id for slot_id, owner in (await shared.owners()).items() if owner == b.hotkey}

        (left,) = [slot for slot_id, slot in (await shared.slots()).items() if slot_id in mine]
        assert (left.state, left.says) == (SlotState.VACANT, "its miner has stopped")

        async def taken() -> bool:
            return (await shared.owners())[left.slot_id] == a.hotkey

        await eventually(taken)
        async with serving(tmp_path, shared, "b", slots={CLASS: 1}) as b:
            await a.until_offers(2)
            assert await b.offers() == 0
            await shared.dance()
            await b.until_offers(1)
