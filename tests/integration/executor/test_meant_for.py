"""A holder that was made for one attempt: it serves that one, and ends when it cannot."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from horde_agents.protocol.miner_executor import HordeAck
from tests.fixtures.executor import Slot
from tests.fixtures.executor_miner import begin, holding, listening
from tests.integration.executor.test_holder_and_link import finished

pytestmark = pytest.mark.docker


async def test_it_ends_well_after_its_job(slot: Slot, tmp_path: Path) -> None:
    async with (
        listening(tmp_path / "miner") as miner,
        holding(slot, miner, meant_for=uuid4()) as holder,
        asyncio.timeout(30),
    ):
        link = await miner.link()
        uuid = await begin(link, slot, "echo done")
        await finished(link)
        await link.send(HordeAck(job_uuid=uuid))
        assert await holder.wait() == 0


async def test_it_ends_when_it_is_refused(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner:
        miner.welcomes = False
        async with holding(slot, miner, meant_for=uuid4(), spin_up_s=600) as holder, asyncio.timeout(30):
            assert await holder.wait() == 0
        assert miner.refused == 2


async def test_it_ends_when_no_offer_comes(slot: Slot, tmp_path: Path) -> None:
    async with (
        listening(tmp_path / "miner") as miner,
        holding(slot, miner, meant_for=uuid4(), spin_up_s=0.1) as holder,
        asyncio.timeout(40),
    ):
        await miner.link()
        assert await holder.wait() == 0


async def test_it_fails_when_its_executor_cannot_serve(
    slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    async with (
        listening(tmp_path / "miner") as miner,
        holding(slot, miner, meant_for=uuid4()) as holder,
        asyncio.timeout(30),
    ):
        assert await holder.wait() == 1
