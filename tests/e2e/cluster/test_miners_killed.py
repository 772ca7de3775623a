"""Miner agents killed: their holders outlive them, and the other takes over what they had."""

import asyncio

import pytest

from horde_agents.cli.embedded import restart_agent
from horde_agents.placement.records import CHOREOGRAPHER, KEEPER
from tests.e2e.cluster.dances import ask_for_a_dance
from tests.e2e.cluster.jobs import gpu_job, jobs_running
from tests.e2e.cluster.patience import until
from tests.e2e.cluster.sight import Sight
from tests.e2e.cluster.wholeness import whole_again
from tests.e2e.users import FINAL, as_user, ended, reached, state_of

pytestmark = pytest.mark.timeout(600)


async def test_a_job_survives_its_miner_which_is_killed_and_started_again(
    sight: Sight, job_image: str
) -> None:
    horde = sight.cluster.horde
    async with jobs_running(horde, job_image, lanes=1) as jobs, as_user(horde) as client:
        holders = {holder.pid for holder in sight.holders()}
        sent = await client.submit(gpu_job(job_image, "sh", "-c", "sleep 8; echo survived"))
        await reached(client, sent["uuid"], "volumes_ready")
        its_miner = miner_of(sight, sent["uuid"])
        kill(sight, its_miner)
        await asyncio.to_thread(restart_agent, its_miner, horde)
        job = await ended(client, sent["uuid"])
        assert (state_of(job), job["stdout"]) == ("completed", "survived\n"), job["status_history"][-1]
        assert {holder.pid for holder in sight.holders()} == holders
    await whole_again(sight, jobs)


@pytest.mark.parametrize("role", [KEEPER, CHOREOGRAPHER])
async def test_a_miner_killed_for_good_leaves_its_role_and_its_slots_to_the_other(
    sight: Sight, job_image: str, role: str
) -> None:
    horde = sight.cluster.horde
    async with jobs_running(horde, job_image) as jobs:
        victim = await until(f"somebody is {role}", lambda: sight.who_is(role), bool)
        assert victim is not None
        (heir,) = horde.miners.keys() - {victim}
        holders = {holder.pid for holder in sight.holders()}
        if role == CHOREOGRAPHER:
            await ask_for_a_dance(sight)
        kill(sight, victim)
        await until("the heir has both roles", lambda: roles(sight), lambda seen: seen == {heir})
        await until("the heir owns all slots", lambda: owners(sight), lambda seen: seen == {heir})
        await until(
            "all executors serve the heir",
            lambda: serving(sight, heir),
            lambda seen: seen[0] + len(seen[1]) >= len(sight.devices),
        )
        assert {holder.pid for holder in sight.holders()} == holders
        await jobs.more_completed(4)
        await asyncio.to_thread(restart_agent, victim, horde)
        await until("no dance is wanted", sight.placement, lambda seen: not seen.dance_wanted)
    assert jobs.states().keys() <= {"completed", "rejected", "horde_failed"}, jobs.states()
    await whole_again(sight, jobs)


async def roles(sight: Sight) -> set[str | None]:
    return {await sight.who_is(KEEPER), await sight.who_is(CHOREOGRAPHER)}


async def serving(sight: Sight, miner: str) -> tuple[int, list[str]]:
    """How many executors are idle at the miner, and the slots that it has leased."""
    return sight.idle(miner), sight.open_leases(miner)


async def owners(sight: Sight) -> set[str]:
    return {sight.name_of(slot.owner) for slot in (await sight.placement()).slots.values()}


def kill(sight: Sight, miner: str) -> None:
    process = sight.cluster.horde.processes[miner]
    process.kill()
    process.wait()


def miner_of(sight: Sight, job_uuid: str) -> str:
    """Who has the job's open attempt."""
    (row,) = [row for row in sight.attempts() if row.job_uuid == job_uuid and row.state not in FINAL]
    return sight.name_of(row.miner_hotkey)
