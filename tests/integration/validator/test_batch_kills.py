"""A validator that is killed in the middle of a batch: nothing of it counts against a miner."""

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.app import assembled
from horde_agents.agents.validator.settings import MinerEntry, ValidatorSettings
from horde_agents.agents.validator.synthetic.runner import new_batch_uuid
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol import validator_miner as wire
from horde_agents.runtime.clock import now
from horde_agents.store import batches, verdicts
from horde_agents.store.batches import Batch, BatchState, Purpose
from horde_agents.store.engine import Store
from horde_agents.store.verdicts import ChainCheck, verify_chain
from horde_agents.store.writer import Writer
from horde_agents.testing.scripted_miner import ScriptedMiner, Talk
from tests.bench.beside import beside
from tests.fixtures.batches import CLASS, SYNTHETIC, MovedChain, solve, working
from tests.fixtures.validator import QUICK, Stage

#: Executors of a batch that is more than its verdicts are written at once.
_MANY: Final = 70
#: Between two looks at what has happened, so that a kill falls close to it.
_LOOK_S: Final = 0.001


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
        async with asyncio.timeout(40):
            while not fact():
                await asyncio.sleep(_LOOK_S)
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


async def _committed(store: Store) -> set[tuple[str, int, int]]:
    """Of each batch: its state, its verdicts, its jobs with an outcome."""
    found = set()
    async with store.reading() as connection:
        for batch in await batches.of_cycle(connection, 1):
            judged = [job for job in await batches.jobs_of(connection, batch.uuid) if job.outcome]
            found.add((batch.state.value, len(await verdicts.of_batch(connection, batch.uuid)), len(judged)))
    return found


async def test_no_commit_leaves_a_part_of_a_batch_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill may come after any: verdicts without their batch's end would be scored without its counts."""
    run, seen = Writer.run, set[tuple[str, int, int]]()
    miner = await stage.miner(script=solve, manifest={CLASS: _MANY})
    validator = await stage.start(miner, **SYNTHETIC)

    async def noted(writer: Writer, unit: Callable[[AsyncConnection], Awaitable[Any]]) -> object:
        value: object = await run(writer, unit)
        seen.update(await _committed(validator.parts.store))
        return value

    monkeypatch.setattr(Writer, "run", noted)
    async with working(validator.parts) as work:
        await work.until_over()
    assert seen == {("planned", 0, 0), ("fired", 0, 0), ("ended", _MANY, _MANY)}


def _verdicts_of_killed(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM verdicts").fetchone()[0])


async def test_a_kill_as_verdicts_come_into_the_log_loses_none_and_judges_nothing_twice(stage: Stage) -> None:
    miner = await stage.miner(script=solve, manifest={CLASS: _MANY})
    path = stage.folder / "validator.sqlite3"
    await _kill_once(stage, miner, lambda: path.exists() and _verdicts_of_killed(path) > 0)
    validator = await stage.start(miner, **SYNTHETIC)
    async with working(validator.parts) as work:
        first, *_ = await work.until_over()
        jobs, rows = await work.jobs(first), await work.verdicts(first)
        assert first.state is BatchState.ENDED
        assert first.details["measured"] == {miner.hotkey: {CLASS: _MANY}}
        assert Counter(job.outcome for job in jobs) == {"passed": _MANY}
        assert {row.verdict.work.attempt_uuid for row in rows} == {job.attempt_uuid for job in jobs}
        async with work.parts.store.reading() as connection:
            assert await verify_chain(connection) == ChainCheck(_MANY, None, rows[-1].chain_sha256)


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
