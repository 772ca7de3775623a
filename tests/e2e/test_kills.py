"""Each agent killed or told to end in each stage of a job: the user hears the truth, and nothing is left."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from horde_agents.cli.embedded import EmbeddedHorde, EmbeddedPlan, embedded_horde, end_agent, restart_agent
from tests.e2e.receiver import Receiver, receiving
from tests.e2e.users import as_user, cause_of, ended, nothing_left, outcome, reached, request, state_of

#: stage → the status that shows the job is in it
STAGES = {
    "executor_startup": "accepted",
    "volume_download": "executor_ready",
    "execution": "volumes_ready",
    "result_upload": "execution_done",
}


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory, job_image: str) -> Iterator[EmbeddedHorde]:
    assert job_image
    overrides = {
        "miner": {"reconnect_grace_s": 2.0},
        "validator": {"incident_pause_s": 0.0, "decline_pause_s": 0.0},  # its faults are ours
    }
    with embedded_horde(tmp_path_factory.mktemp("fragile"), EmbeddedPlan(overrides=overrides)) as horde:
        yield horde


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("agent", ["facilitator", "validator", "miner", "executor"])
async def test_a_killed_agent_leaves_a_final_state_and_no_container(
    fragile: EmbeddedHorde, job_image: str, agent: str, stage: str
) -> None:
    with receiving() as receiver:
        job = request(job_image, "sh", "-c", "sleep 2; echo done > /output/out") | held(receiver, stage)
        async with as_user(fragile) as client, asyncio.timeout(100):
            sent = await client.submit(job)
            await reached(client, sent["uuid"], STAGES[stage])
            kill(fragile, agent)
            receiver.released.set()
            if agent != "executor":
                await asyncio.to_thread(restart_agent, agent, fragile)
            final = await ended(client, sent["uuid"])
        if agent in {"facilitator", "validator"} and stage == "executor_startup":
            assert (state_of(final), cause_of(final)[1]) == ("failed", "image_not_found")
        elif agent in {"facilitator", "validator"}:
            assert state_of(final) == "completed", final["status_history"][-1]
        else:
            assert state_of(final) == "horde_failed", final["status_history"][-1]
            assert cause_of(final)[0] == "executor_disconnected"
        after = await outcome(fragile, request(job_image, "echo", "back in service"))
        assert after["stdout"] == "back in service\n", after["status_history"][-1]
        await nothing_left(fragile)


@pytest.mark.parametrize("agent", ["facilitator", "validator", "miner"])
async def test_an_agent_told_to_end_finishes_or_hands_on_what_runs(
    fragile: EmbeddedHorde, job_image: str, agent: str
) -> None:
    job = request(job_image, "sh", "-c", "sleep 3; echo done")
    async with as_user(fragile) as client, asyncio.timeout(100):
        sent = await client.submit(job)
        await reached(client, sent["uuid"], "volumes_ready")
        await asyncio.to_thread(end_agent, fragile.processes[agent])
        assert fragile.processes[agent].returncode == 0
        await asyncio.to_thread(restart_agent, agent, fragile)
        final = await ended(client, sent["uuid"])
    assert (state_of(final), final["stdout"]) == ("completed", "done\n"), final["status_history"][-1]
    await nothing_left(fragile)


def held(receiver: Receiver, stage: str) -> dict[str, object]:
    """What keeps the job in ``stage`` until the receiver is released."""
    receiver.served["/held/in"] = b"input"
    uploads = {
        "output_upload_type": "single_file_put",
        "url": f"{receiver.url}/held/out",
        "relative_path": "out",
    }
    volume = {"volume_type": "single_file", "url": f"{receiver.url}/held/in", "relative_path": "in"}
    match stage:
        case "executor_startup":
            registry = receiver.url.removeprefix("http://")
            return {"docker_image": f"{registry}/held/image:1"}  # which is not there once it answers
        case "volume_download":
            return {"volumes": [volume]}
        case "result_upload":
            return {"uploads": [{**uploads, "signed_headers": None}]}
        case _:
            return {}


def kill(horde: EmbeddedHorde, agent: str) -> None:
    if agent != "executor":
        horde.processes[agent].kill()
        horde.processes[agent].wait()
        return
    (holder,) = children(horde.processes["miner"].pid)
    (executor,) = children(holder)
    os.kill(executor, signal.SIGKILL)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
