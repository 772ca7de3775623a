"""A validator killed between two progress receipts loses none, and goes on from what was proven."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Row, select

from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.frames import render
from horde_agents.protocol.validator_miner import HordeProgress, HordeProgressReceipt, V0AcceptJobRequest
from horde_agents.receipts.payloads import read_progress
from horde_agents.store.engine import open_store
from horde_agents.store.tables import progress_receipts
from horde_agents.testing.scripted_miner import ScriptedMiner, Talk
from tests.fixtures.validator import QUICK, Stage

_SERVE = """
import asyncio, json, sys
from horde_agents.agents.validator.app import running_validator
from horde_agents.agents.validator.settings import ValidatorSettings

async def main() -> None:
    async with running_validator(ValidatorSettings(**json.loads(sys.argv[1]))) as validator:
        validator.parts.progress_interval_s = lambda: 0.0
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def killed_in_the_end(stage: Stage, miner: ScriptedMiner) -> AsyncIterator[None]:
    """A validator in a process of its own, until it is killed."""
    entry = {"hotkey": miner.hotkey, "host": "127.0.0.1", "port": miner.port}
    settings = QUICK | {
        "hotkey_file": str(stage.folder / "validator.hotkey"),
        "database_url": f"sqlite:///{stage.folder}/validator.sqlite3",
        "facilitator_urls": [stage.facilitator.url],
        "operator_port": 0,
        "debug_miners": [entry],
        "miner_absence_s": 60.0,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _SERVE, json.dumps(settings))
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def stored_rows(url: str) -> Sequence[Row[Any]]:
    async with open_store(url) as store, store.reading() as connection:
        query = select(progress_receipts).order_by(progress_receipts.c.id)
        return (await connection.execute(query)).all()


async def test_a_validator_killed_between_progress_receipts_loses_none(stage: Stage) -> None:
    async def beats(talk: Talk) -> None:
        """Runs one job for ever, and says so on every connection."""
        await talk.greet()
        offer = await talk.until(frames.V0InitialJobRequest)
        uuid = offer.job_uuid
        await talk.send(V0AcceptJobRequest(job_uuid=uuid))
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await talk.until(frames.V0JobRequest)
        await talk.send(frames.V0VolumesReadyRequest(job_uuid=uuid))
        while True:
            await talk.send(render(HordeProgress(job_uuid=uuid, run_us=10**12)))
            await talk.until(HordeProgressReceipt)
            await asyncio.sleep(0.05)

    miner = await stage.known_miner(beats)

    def proofs() -> list[tuple[int, int]]:
        payloads = [read_progress(frame.payload) for frame in miner.of(HordeProgressReceipt)]
        return [(each.sequence, each.run_us) for each in payloads]

    async with killed_in_the_end(stage, miner):
        await stage.submit(execution_time_limit=600)
        await miner.until(lambda: len(proofs()) >= 3)
    before = len(proofs())
    async with killed_in_the_end(stage, miner):
        await miner.until(lambda: len(proofs()) >= before + 3)
    seen = proofs()
    rows = await stored_rows(f"sqlite:///{stage.folder}/validator.sqlite3")
    stored = [(row.sequence, read_progress(json.loads(row.payload_json)).run_us) for row in rows]
    assert [sequence for sequence, _ in stored] == list(range(1, len(stored) + 1))
    assert set(seen) <= set(stored)  # whatever the miner has, the validator had stored before
    assert [run_us for _, run_us in stored] == sorted(run_us for _, run_us in stored)
