"""A validator that is killed in the middle of a batch: nothing of it counts against a miner."""

import asyncio
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from horde_agents.agents.validator.app import assembled
from horde_agents.agents.validator.settings import MinerEntry, ValidatorSettings
from horde_agents.agents.validator.synthetic.runner import new_batch_uuid
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol import validator_miner as wire
from horde_agents.runtime.clock import now
from horde_agents.store import batches
from horde_agents.store.batches import Batch, BatchState, Purpose
from horde_agents.store.verdicts import verify_chain
from horde_agents.testing.scripted_miner import ScriptedMiner, Talk
from tests.bench.beside import beside
from tests.fixtures.batches import CLASS, SYNTHETIC, MovedChain, solve, working
from tests.fixtures.validator import QUICK, Stage


async def _work_for_ever(pipe: Connection, settings: dict[str, Any]) -> None:
    async with assembled(ValidatorSettings(**settings)) as validator, working(validator.parts) as work:
        pipe.send("up")
        while True:
            await work.move()


async def _kill_once(stage: Stage, miner: ScriptedMiner, fact: Callable[[], bool]) -> None:
    """Run a validator on the stage's store in a process of its own, and kill it when ``fact`` holds."""
    settings = {
        **QUICK,
        **SYNTHETIC,
        "hotkey_file": stage.folder / "validator.hotkey",
        "database_url": f"sqlite:///{stage.folder}/validator.sqlite3",
        "debug_miners": (MinerEntry(hotkey=miner.hotkey, host="127.0.0.1", port=miner.port),),
    }
    with beside(_work_for_ever, settings) as process:
        assert await asyncio.to_thread(process.answer) == "up"
        await miner.until(fact, 40.0)
        os.kill(process.pid, signal.SIGKILL)


async def test_a_batch_that_had_fired_is_not_run_and_its_receipts_are_closed(stage: Stage) -> None:
    async def take(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
        await talk.listen_for(60)

    miner = await stage.miner(script=take)
    await _kill_once(stage, miner, lambda: bool(miner.of(frames.V0JobRequest)))
    miner.script = solve
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        first, *_ = await work.until_over()
        [job] = await work.jobs(first)
        assert (first.state, job.outcome) == (BatchState.NOT_RUN, "not_run")
        assert "restarted" in job.why
        [row] = await work.verdicts(first)
        assert row.verdict.work.outcome.value == "not_run"
        async with work.parts.store.reading() as connection:
            assert (await verify_chain(connection)).broken_id is None
        await validator.polls.ask(validator.parts.directory.miners())
        assert {frame.payload["score_str"] for frame in miner.of(wire.V0JobFinishedReceiptRequest)} == {
            "0.000000"
        }


async def test_a_batch_that_was_only_offered_is_run_as_planned(stage: Stage) -> None:
    async def accept_only(talk: Talk) -> None:
        await talk.greet()
        await talk.accept()
        await talk.listen_for(60)

    miner = await stage.miner(script=accept_only)
    await _kill_once(stage, miner, lambda: bool(miner.of(wire.V0JobAcceptedReceiptRequest)))
    miner.script, miner.manifest = solve, {CLASS: 2}
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        [batch] = await work.until_over()
        assert batch.state is BatchState.ENDED
        outcomes = {job.outcome: job.why for job in await work.jobs(batch)}
        assert set(outcomes) == {"not_run", "passed"}
        assert "restarted" in outcomes["not_run"]
        # the executor that the first offer still occupies is known to be ours
        assert batch.details["measured"] == {miner.hotkey: {CLASS: 2}}


async def test_a_batch_whose_instant_has_passed_is_not_run(stage: Stage) -> None:
    miner = await stage.miner(script=solve)
    validator = await stage.start(miner, **SYNTHETIC)
    parts, planned = validator.parts, Batch(new_batch_uuid(), 1, Purpose.BATCH, 13, now())
    await parts.store.writer.run(lambda connection: batches.plan(connection, [planned]))
    later = MovedChain({parts.signer.hotkey: 10**12}, number=27)
    async with working(parts, later) as work:
        first, *_ = await work.until_over()
        assert (first.uuid, first.state) == (planned.uuid, BatchState.NOT_RUN)
        assert "away" in first.details["why"]
        assert list(await work.jobs(first)) == []
