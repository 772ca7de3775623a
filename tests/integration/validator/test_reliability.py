"""What a validator remembers of its miners, and what it takes up after a restart."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.jobs.events import HordeFailed
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import Role
from horde_agents.runtime.clock import now
from horde_agents.store import attempts
from horde_agents.store.attempts import StoredAttempt
from tests.fixtures.validator import Stage
from tests.integration.validator.test_retries import declines, fails_after_accepting, users_command_fails


async def factor(stage: Stage, hotkey: str) -> float:
    assert stage.validator is not None
    await stage.flushed()
    return stage.validator.parts.reliability.factor(hotkey, now().timestamp())


async def test_a_lost_job_counts_now_and_after_a_restart(stage: Stage) -> None:
    bad = await stage.miner(script=fails_after_accepting)
    await stage.start(bad)
    await stage.run()
    await stage.until_idle()
    fresh = await factor(stage, bad.hotkey)
    assert fresh < 0.7
    await stage.restart()
    assert abs(await factor(stage, bad.hotkey) - fresh) < 0.01


async def test_a_users_failing_command_counts_against_nobody(stage: Stage) -> None:
    good = await stage.miner(script=users_command_fails)
    await stage.start(good)
    await stage.run()
    await stage.until_idle()
    assert await factor(stage, good.hotkey) == 1.0
    await stage.restart()
    assert await factor(stage, good.hotkey) == 1.0


async def test_a_miner_that_cannot_be_reached_loses_as_much_as_one_that_fails(stage: Stage) -> None:
    gone = await stage.miner()
    await stage.start(gone, connect_s=0.3)
    await stage.close(gone)
    await stage.run()
    await stage.until_idle()
    assert await factor(stage, gone.hotkey) < 0.7


async def test_an_unexcused_decline_counts_a_little(stage: Stage) -> None:
    busy = await stage.miner(script=declines)
    await stage.start(busy)
    await stage.run()
    await stage.until_idle()
    assert 0.8 < await factor(stage, busy.hotkey) < 1.0


async def test_a_validators_own_restarts_do_not_lengthen_a_miners_pause(stage: Stage) -> None:
    miner = await stage.miner(script=fails_after_accepting)
    validator = await stage.start(miner, incident_pause_s=60.0, decline_pause_s=0.0)
    store = validator.parts.store
    ours = HordeFailed(Role.VALIDATOR, HordeFaultReason.UNHANDLED_EXCEPTION, "restarted")
    for n in range(5):
        row = StoredAttempt(f"a{n}", f"j{n}", miner.hotkey, "v", "always_on.test", "", now(), now())

        async def lost(connection: AsyncConnection, row: StoredAttempt = row) -> None:
            await attempts.add(connection, row)
            await attempts.record(connection, row.uuid, ours, now())

        await store.writer.run(lost)
    await stage.run()
    await stage.until_idle()
    until = (await stage.blacklist())[miner.hotkey].until
    assert until is not None
    assert until - now() <= timedelta(seconds=60)
