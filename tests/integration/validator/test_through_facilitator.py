"""A job that waits and names several classes, from the user's client all the way to a miner."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from horde_agents.agents.facilitator.app import running_facilitator
from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.clients.facilitator import facilitator_client
from horde_agents.protocol import job_frames as frames
from horde_agents.testing.signed_jobs import job_body
from tests.fixtures.validator import Stage
from tests.fixtures.waiting import eventually
from tests.integration.validator.test_waiting import LARGE, SMALL, let_go, runs_when_told, until_waiting


async def test_a_waiting_job_goes_all_the_way_when_an_executor_is_free(stage: Stage, tmp_path: Path) -> None:
    settings = FacilitatorSettings.model_validate(
        {
            "database_url": f"sqlite:///{tmp_path}/facilitator.sqlite3",
            "host": "127.0.0.1",
            "port": 0,
            "operator_port": 0,
            "allowed_validators": [stage.signer.hotkey],
            "allow_unlisted_hotkeys": True,
        }
    )
    async with running_facilitator(settings) as running:
        base = f"http://127.0.0.1:{running.port}"
        miner = await stage.known_miner(runs_when_told, {SMALL: 1})
        await stage.start(miner, facilitator_urls=(f"ws://127.0.0.1:{running.port}/ws/v0/",))
        body = {**job_body(executor_class=SMALL), "executor_classes": [LARGE, SMALL], "wait_s": 60}
        async with facilitator_client(base, stage.signer) as client:

            async def is_linked() -> bool:
                return stage.validator is not None and not stage.validator.links[0].trouble

            await eventually(is_linked)
            first = await client.submit_whole(body)
            async with asyncio.TaskGroup() as group:
                follows = group.create_task(_last_status(client.follow(first["uuid"])))
                second = await client.submit_whole(body)
                await until_waiting(stage, 1)
                let_go(miner, 2)
                assert await _last_status(client.follow(second["uuid"])) == "completed"
            assert follows.result() == "completed"
    assert {offer.executor_class for offer in miner.of(frames.V0InitialJobRequest)} == {SMALL}


async def _last_status(entries: AsyncIterator[dict[str, Any]]) -> str:
    status = ""
    async for entry in entries:
        status = entry["status"]
    return status
