"""Several validators at one miner, cancels, and a horde that is busy."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from horde_agents.agents.validator.run_job import OwnOutcome, run_own_job
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.cli.devchain import call
from horde_agents.cli.embedded import NETUID, EmbeddedHorde
from horde_agents.clients.wallets import create_hotkey_file
from horde_agents.jobs.states import JobState
from tests.e2e.users import (
    as_user,
    cause_of,
    ended,
    idle_executors,
    nothing_left,
    outcome,
    reached,
    request,
    state_of,
)


async def test_a_job_beyond_the_last_executor_is_rejected_as_busy(
    horde: EmbeddedHorde, job_image: str
) -> None:
    """The first here: of the end of another validator's jobs ours hears by receipts, seconds late."""
    await idle_executors(horde, 2)
    async with asyncio.TaskGroup() as group:
        jobs = [
            group.create_task(outcome(horde, request(job_image, "sleep", "4", tag=f"busy{number}")))
            for number in range(3)
        ]
    states = sorted(state_of(job.result()) for job in jobs)
    assert states == ["completed", "completed", "rejected"]


async def test_two_validators_run_jobs_at_one_miner_at_once(
    horde: EmbeddedHorde, job_image: str, tmp_path: Path
) -> None:
    key = tmp_path / "second"
    hotkey = create_hotkey_file(key)
    chain = horde.chain.replace("ws://", "http://")
    await call(chain, "dev_register", [NETUID, hotkey, hotkey])
    await call(chain, "dev_setStake", [NETUID, hotkey, 10**12])
    settings = ValidatorSettings(
        hotkey_file=key,
        database_url=f"sqlite:///{tmp_path}/second.sqlite3",
        chain_url=horde.chain,
        netuid=NETUID,
        operator_port=0,
        api_port=0,
        incident_pause_s=0.0,  # the miner refuses it until it has read the chain again
    )
    await miner_knows(horde, settings)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(outcome(horde, request(job_image, "sh", "-c", "sleep 1; echo first")))
        second = group.create_task(own(settings, job_image, "sh", "-c", "sleep 1; echo second"))
    assert first.result()["stdout"] == "first\n"
    assert (second.result().state, getattr(second.result().event, "stdout", "")) == (
        JobState.COMPLETED,
        "second\n",
    )


async def own(settings: ValidatorSettings, image: str, *args: str) -> OwnOutcome:
    limits = {"download_time_limit": 10, "execution_time_limit": 20, "upload_time_limit": 10}
    body = {"executor_class": "always_on.test", "docker_image": image, "args": list(args), **limits}
    return await run_own_job(settings, body, None, lambda _event: None)


async def miner_knows(horde: EmbeddedHorde, settings: ValidatorSettings) -> None:
    """The miner reads the chain every few seconds; until then it refuses a new validator."""
    async with asyncio.timeout(90):
        while True:
            tried = await own(settings, "127.0.0.1:5001/alpine:3", "true")
            if tried.state is JobState.COMPLETED:
                return
            await asyncio.sleep(1)


async def test_a_running_job_is_cancelled_and_leaves_nothing(horde: EmbeddedHorde, job_image: str) -> None:
    async with as_user(horde) as client, asyncio.timeout(60):
        sent = await client.submit(request(job_image, "sh", "-c", "trap '' TERM; sleep 100"))
        await reached(client, sent["uuid"], "volumes_ready")
        await client.cancel(sent["uuid"])
        final = await ended(client, sent["uuid"])
    assert (state_of(final), cause_of(final)[1]) == ("failed", "cancelled")
    await nothing_left(horde)


async def test_a_streaming_job_is_told_that_there_is_no_streaming_yet(
    horde: EmbeddedHorde, job_image: str
) -> None:
    streaming = {"streaming_details": {"public_key": "PEM"}, "streaming_start_time_limit": 5}
    final = await outcome(horde, request(job_image, "true", **streaming))
    assert (state_of(final), cause_of(final)[0]) == ("horde_failed", "streaming_failed")


@pytest.mark.parametrize(
    ("change", "reason", "cause"),
    [
        ({"docker_image": "127.0.0.1:5001/horde/no-such-image:1"}, "download_failed", "image_not_found"),
        (
            {"args": ["sh", "-c", "trap '' TERM; sleep 60"], "execution_time_limit": 1},
            "timeout",
            "stage_timeout",
        ),
        (
            {"volumes": [{"volume_type": "inline", "contents": "bm8gemlw", "relative_path": None}]},
            "download_failed",
            "volume_refused",
        ),
        (
            {
                "uploads": [
                    {
                        "output_upload_type": "single_file_put",
                        "url": "http://127.0.0.1:1/",
                        "relative_path": "none",
                    }
                ]
            },
            "upload_failed",
            "output_missing",
        ),
    ],
)
async def test_a_users_own_fault_reaches_the_user_with_its_cause(
    horde: EmbeddedHorde, job_image: str, change: dict[str, Any], reason: str, cause: str
) -> None:
    final = await outcome(
        horde, {**request(job_image, "true", download_time_limit=5, upload_time_limit=5), **change}
    )
    assert (state_of(final), *cause_of(final)) == ("failed", reason, cause)
    await nothing_left(horde)


@pytest.mark.parametrize("path", ["/admin/login/", "/version", "/"])
async def test_the_miners_reachability_checks_answer_200(horde: EmbeddedHorde, path: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(horde.miner + path) as reply:
        assert reply.status == 200


@pytest.mark.parametrize("agent", ["facilitator", "validator", "miner"])
async def test_each_agent_says_how_it_is(horde: EmbeddedHorde, agent: str) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("healthz", "readyz"):
            async with http.get(f"http://{horde.operators[agent]}/{path}") as reply:
                answer: dict[str, Any] = await reply.json()
                assert reply.status == 200, json.dumps(answer)
        async with http.get(f"http://{horde.operators[agent]}/metrics") as reply:
            assert f"horde_{agent}_" in await reply.text()


async def test_a_job_can_be_followed_through_every_agents_log(horde: EmbeddedHorde, job_image: str) -> None:
    job = (await outcome(horde, request(job_image, "true", tag="logged")))["uuid"]
    ended_there = [line for line in logged(horde, "facilitator") if line.get("job") == job]
    assert [(line["event"], line["peer"], line["state"]) for line in ended_there] == [
        ("job ended", horde.validator, "completed")
    ]
    tried = [line for line in logged(horde, "validator") if line.get("job") == job and "attempt" in line]
    assert {line["peer"] for line in tried} == {horde.miner_hotkey}
    wanted = {("miner", "attempt accepted"), ("miner", "attempt over"), ("executor", "attempt over")}
    async with asyncio.timeout(10):
        while wanted:  # the miner writes its last line when it has told the others
            lines = [line for line in logged(horde, "miner") if line.get("job") == tried[0]["attempt"]]
            wanted -= {(line["agent"], line["event"]) for line in lines}
            await asyncio.sleep(0.05)


def logged(horde: EmbeddedHorde, agent: str) -> list[dict[str, Any]]:
    """An agent's log, each line of which is an object that says when, who and how bad."""
    lines = [json.loads(line) for line in (horde.folder / f"{agent}.log").read_text().splitlines()]
    assert all({"timestamp", "agent", "level", "event"} <= set(line) for line in lines)
    return lines
