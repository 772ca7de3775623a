"""No-op jobs through all four agents, against ``docker run`` of the same image with the same bounds."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from horde_agents.cli.embedded import EmbeddedHorde, EmbeddedPlan, embedded_horde
from horde_agents.clients.facilitator import FacilitatorClient, facilitator_client
from horde_agents.protocol.signing import KeypairSigner
from tests.bench.figures import Figure, ratio, shown
from tests.bench.memory import agent_figures, executor_figures
from tools.setup.job_image import JOB_IMAGE

_ROUNDS = 12
_AT_ONCE = 8
_BATCHES = 8
#: ``docker run`` with the bounds that an executor sets.
DOCKER_RUN = [
    "docker",
    "run",
    "--rm",
    "--network",
    "none",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--pids-limit",
    "1024",
    "--memory",
    "2g",
    "--memory-swap",
    "2g",
    "--cpus",
    "2",
    "--ulimit",
    "core=0",
    "--ulimit",
    "nofile=4096:4096",
    "--ipc",
    "private",
    "--init",
    "--log-driver",
    "none",
    "--tmpfs",
    "/tmp:rw,nosuid,nodev,size=268435456",
    "--no-healthcheck",
]


def job_figures() -> list[Figure]:
    """Everything that needs a running horde."""
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_horde(Path(folder) / "horde", EmbeddedPlan(slots=_AT_ONCE)) as horde,
    ):
        idle = agent_figures(horde)
        executors = executor_figures(horde)
        return [*asyncio.run(_measured(horde)), *idle, *executors]


async def _measured(horde: EmbeddedHorde) -> list[Figure]:
    signer = KeypairSigner.from_hotkey_file(horde.user_file)
    async with facilitator_client(horde.facilitator, signer) as client:
        await job_s(client)
        ours, theirs = [], []
        for _ in range(_ROUNDS):
            ours.append(await job_s(client))
            theirs.append(await _docker_s())
        fast = Figure(
            "warm no-op job / docker run",
            ratio(ours, theirs),
            1.3,
            "x",
            detail=f"job {shown(ours)}, docker run {shown(theirs)}",
        )
        many, runs = [], []
        for _ in range(_BATCHES):
            many.append(await _all_s([job_s(client) for _ in range(_AT_ONCE)]))
            runs.append(await _all_s([_docker_s() for _ in range(_AT_ONCE)]))
        rate = 1 / ratio(many, runs)
        detail = f"8 jobs {shown(many)}, 8 docker runs {shown(runs)}"
        return [
            fast,
            Figure(
                "no-op jobs per second at 8 / docker run at 8", rate, 0.8, "x", at_most=False, detail=detail
            ),
        ]


async def job_s(client: FacilitatorClient) -> float:
    """Seconds from the POST to `completed` on the event stream."""
    begun = time.perf_counter()
    job = await client.submit(noop())
    last: dict[str, Any] = {}
    async for entry in client.follow(job["uuid"]):
        last = entry
    assert last["status"] == "completed", last
    return time.perf_counter() - begun


async def _docker_s() -> float:
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*DOCKER_RUN, JOB_IMAGE.by_digest(), "true")
    assert await process.wait() == 0
    return time.perf_counter() - begun


async def _all_s(work: list[Any]) -> float:
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)
    return time.perf_counter() - begun


def noop() -> dict[str, Any]:
    """The request of a job that does nothing."""
    return {
        "executor_class": "always_on.test",
        "docker_image": JOB_IMAGE.by_digest(),
        "args": ["true"],
        "download_time_limit": 5,
        "execution_time_limit": 30,
        "upload_time_limit": 5,
    }
