"""Completed jobs that are run again elsewhere: which, where, and what a miner's wrong results lead to."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from horde_agents.agents.validator import records
from horde_agents.jobs.states import JobState
from horde_agents.protocol import job_frames as frames
from horde_agents.runtime.clock import now
from horde_agents.scoring.configuration import Configuration
from horde_agents.store import cross_checks
from horde_agents.store.cross_checks import CrossCheck
from horde_agents.testing.scripted_miner import Script, ScriptedMiner, Talk, finish
from tests.fixtures.validator import Stage
from tests.integration.validator.test_cheat_reports import judged, says

STEADY = "alpine@sha256:" + "0" * 64


def knobs(stage: Stage, **values: str) -> None:
    assert stage.validator is not None
    configuration = Configuration(
        **({"cross_validation_share": "1", "trusted_validation_share": "0"} | values)
    )
    stage.validator.parts.knobs = lambda: configuration


async def begun(stage: Stage, outputs: dict[str, Script], **changes: Any) -> dict[str, ScriptedMiner]:
    miners = {name: await stage.known_miner(script, name=name) for name, script in outputs.items()}
    await stage.start(*miners.values(), **changes)
    knobs(stage)
    return miners


async def run_one(stage: Stage, **changes: Any) -> str:
    uuid = await stage.submit(**{"docker_image": STEADY} | changes)
    await stage.facilitator.until_final(uuid)
    await stage.until_idle()
    return uuid


def offers(miners: dict[str, ScriptedMiner]) -> dict[str, int]:
    return {name: len(miner.of(frames.V0InitialJobRequest)) for name, miner in miners.items()}


async def test_a_completed_job_is_run_again_at_another_miner_and_confirmed(stage: Stage) -> None:
    miners = await begun(stage, {"one": says("hello\n"), "two": says("hello\n")})
    uuid = await run_one(stage)
    (check,) = await judged(stage)
    assert (check.state, check.reason, check.job_uuid) == ("agreed", "sample", uuid)
    assert offers(miners) == {"one": 1, "two": 1}
    assert await stage.blacklist() == {}
    assert stage.facilitator.states(uuid)[-1] == "completed"


async def test_the_user_hears_nothing_of_the_second_run(stage: Stage) -> None:
    await begun(stage, {"one": says("hello\n"), "two": says("hello\n")})
    uuid = await run_one(stage)
    await judged(stage)
    assert {update.uuid for update in stage.facilitator.updates} == {uuid}


async def test_a_third_miner_decides_and_one_strike_bars_nobody(stage: Stage) -> None:
    miners = await begun(stage, {"cheat": says("bye\n"), "one": says("hello\n"), "two": says("hello\n")})
    checks: list[CrossCheck] = []
    for count in range(1, 12):
        await run_one(stage)
        checks = await judged(stage, count)
        if checks[-1].state == "disagreed":
            break
    cheat = miners["cheat"].hotkey
    assert checks[-1].loser_hotkey == cheat
    assert len(json.loads(checks[-1].evidence_json)["outputs"]) == 3
    assert await stage.blacklist() == {}
    assert stage.validator is not None
    assert stage.validator.parts.reliability.factor(cheat, now().timestamp()) < 1


async def test_two_strikes_in_a_day_bar_a_miner_with_the_jobs_named(stage: Stage) -> None:
    miners = await begun(stage, {"cheat": says("bye\n"), "one": says("hello\n"), "two": says("hello\n")})
    cheat, count, checks = miners["cheat"].hotkey, 0, []
    while cheat not in await stage.blacklist():
        count += 1
        assert count < 30
        await run_one(stage)
        checks = await judged(stage, count)
    lost = [check for check in checks if check.loser_hotkey == cheat]
    assert len(lost) == 2
    note = (await stage.blacklist())[cheat].note
    assert all(check.job_uuid in note for check in lost)
    before = offers(miners)["cheat"]
    await run_one(stage)
    assert offers(miners)["cheat"] == before


async def test_strikes_of_yesterday_count_no_more(stage: Stage) -> None:
    miners = await begun(stage, {"one": says("hello\n")})
    assert stage.validator is not None
    store, hotkey = stage.validator.parts.store, miners["one"].hotkey
    for age in (timedelta(hours=25), timedelta(hours=1)):
        check = CrossCheck(str(uuid4()), str(uuid4()), "sample", "c", hotkey, now() - age)
        await store.writer.run(lambda connection, check=check: cross_checks.add(connection, check))  # type: ignore[misc]
        at = now() - age
        await store.writer.run(
            lambda connection, check=check, at=at: cross_checks.end(  # type: ignore[misc]
                connection, check.uuid, "disagreed", hotkey, "{}", at
            )
        )
    async with store.reading() as connection:
        assert len(await cross_checks.strikes(connection, hotkey, now() - timedelta(hours=24))) == 1


async def test_a_job_that_gives_another_output_each_time_costs_nobody_anything(stage: Stage) -> None:
    async def counts(talk: Talk) -> None:
        await talk.greet()
        await finish(talk, await talk.accept(), str(uuid4()))

    await begun(stage, {"one": counts, "two": counts, "three": counts})
    await run_one(stage)
    (check,) = await judged(stage)
    assert (check.state, check.loser_hotkey) == ("undecided", "")


async def test_where_nobody_could_decide_nobody_is_found_wrong(stage: Stage) -> None:
    await begun(stage, {"cheat": says("bye\n"), "one": says("hello\n")})
    await run_one(stage)
    (check,) = await judged(stage)
    assert (check.state, check.loser_hotkey) == ("undecided", "")


async def test_the_trusted_miner_repeats_its_share_and_is_never_found_wrong(stage: Stage) -> None:
    own = await stage.miner("trusted", script=says("bye\n"))
    miners = {name: await stage.miner(name, script=says("hello\n")) for name in ("a", "b")}
    await stage.start(*miners.values(), trusted_miner={"host": "127.0.0.1", "port": own.port})
    knobs(stage, trusted_validation_share="1", cross_validation_share="0")
    await run_one(stage)
    (check,) = await judged(stage)
    assert len(own.of(frames.V0InitialJobRequest)) == 1
    assert (check.state, check.loser_hotkey) == ("undecided", "")


@pytest.mark.parametrize(
    "change",
    [
        {"docker_image": "alpine:3.20"},
        {"env": {"TOKEN": "secret"}},
        {"execution_time_limit": 2000},
    ],
)
async def test_what_cannot_or_must_not_be_repeated_is_not(stage: Stage, change: dict[str, Any]) -> None:
    miners = await begun(stage, {"one": says("hello\n"), "two": says("hello\n")})
    await run_one(stage, **change)
    assert sum(offers(miners).values()) == 1


async def test_the_share_of_the_configuration_applies_while_running(stage: Stage) -> None:
    miners = await begun(stage, {"one": says("hello\n"), "two": says("hello\n")})
    knobs(stage, cross_validation_share="0")
    await run_one(stage)
    await stage.until_idle()
    assert sum(offers(miners).values()) == 1
    knobs(stage, cross_validation_share="1")
    await run_one(stage)
    await judged(stage)
    assert sum(offers(miners).values()) == 3


async def test_the_last_free_executor_is_left_to_users(stage: Stage) -> None:
    barred = asyncio.Event()

    async def waits_for_the_bar(talk: Talk) -> None:
        await talk.greet()
        attempt = await talk.accept()
        await barred.wait()
        await finish(talk, attempt)

    miners = await begun(stage, {"one": waits_for_the_bar, "two": waits_for_the_bar})
    assert stage.validator is not None
    uuid = await stage.submit(docker_image=STEADY)
    (runner,) = await having_offers(miners)
    pause = records.Pause(miners[runner].hotkey, "a fault", 60, 60)
    await stage.validator.parts.store.writer.run(lambda connection: records.pause(connection, pause, now()))
    barred.set()
    await stage.facilitator.until_final(uuid)
    await stage.until_idle()
    assert sum(offers(miners).values()) == 1


async def having_offers(miners: dict[str, ScriptedMiner]) -> list[str]:
    while not (found := [name for name, count in offers(miners).items() if count]):
        await asyncio.sleep(0.05)
    return found


async def test_the_seconds_of_a_day_bound_what_is_run_again(stage: Stage) -> None:
    miners = await begun(stage, {"one": says("hello\n"), "two": says("hello\n")}, cross_validation_daily_s=60)
    for _ in range(3):
        await run_one(stage)
        await judged(stage)
    assert sum(offers(miners).values()) == 4  # a run counts with its limits, 38 s


async def test_a_rerun_never_uploads_over_the_users_output(stage: Stage) -> None:
    upload = {
        "output_upload_type": "single_file_put",
        "relative_path": "o",
        "url": "http://x/o",
        "signed_headers": None,
    }
    miners = await begun(stage, {"one": says("hello\n"), "two": says("hello\n")})
    await run_one(stage, uploads=[upload])
    await judged(stage)
    payloads = [frame for miner in miners.values() for frame in miner.of(frames.V0JobRequest)]
    assert sorted(payload.output_upload is None for payload in payloads) == [False, True]


async def test_a_comparison_cut_off_by_a_restart_comes_to_nothing(stage: Stage) -> None:
    miners = await begun(stage, {"one": says("hello\n")})
    assert stage.validator is not None
    check = CrossCheck(str(uuid4()), str(uuid4()), "sample", "c", miners["one"].hotkey, now())
    await stage.validator.parts.store.writer.run(lambda connection: cross_checks.add(connection, check))
    await stage.restart()
    (ended,) = await judged(stage)
    assert (ended.state, ended.loser_hotkey) == ("undecided", "")


async def test_a_confirmed_miner_is_looked_at_less_and_less(stage: Stage) -> None:
    miners = await begun(stage, {"one": says("hello\n"), "two": says("hello\n")})
    assert stage.validator is not None
    store = stage.validator.parts.store
    hotkey = miners["one"].hotkey
    for outcome, loser in (("agreed", ""), ("disagreed", hotkey), ("agreed", ""), ("agreed", "")):
        check = CrossCheck(str(uuid4()), str(uuid4()), "sample", "c", hotkey, now(), "", outcome, loser)
        await store.writer.run(lambda connection, check=check: cross_checks.add(connection, check))  # type: ignore[misc]
    async with store.reading() as connection:
        assert await cross_checks.clean_streak(connection, hotkey, "c") == 2
        assert await cross_checks.clean_streak(connection, hotkey, "other") == 0


async def test_the_job_of_a_user_ends_before_it_is_compared(stage: Stage) -> None:
    async def never(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        if len(talk.miner.of(frames.V0InitialJobRequest)) > 1:
            await talk.listen_for(60)
        await finish(talk, uuid)

    await begun(stage, {"one": never, "two": never})
    job = await stage.run(docker_image=STEADY)
    assert job.state is JobState.COMPLETED
