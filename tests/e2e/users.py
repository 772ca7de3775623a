"""A user of the tests: sends jobs, waits for states, looks for what was left on the machine."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import aiohttp

from horde_agents.cli.embedded import EmbeddedHorde
from horde_agents.clients.facilitator import FacilitatorClient, FacilitatorFault, facilitator_client
from horde_agents.protocol.signing import KeypairSigner

FINAL = {"completed", "failed", "rejected", "horde_failed"}


def request(image: str, *args: str, **more: Any) -> dict[str, Any]:
    """A job request with short limits."""
    return {
        "executor_class": "always_on.test",
        "docker_image": image,
        "args": list(args),
        "download_time_limit": 20,
        "execution_time_limit": 20,
        "upload_time_limit": 20,
        **more,
    }


def as_user(horde: EmbeddedHorde) -> Any:
    """An async context manager of a client."""
    return facilitator_client(horde.facilitator, KeypairSigner.from_hotkey_file(horde.user_file))


async def outcome(horde: EmbeddedHorde, job: dict[str, Any], limit_s: float = 90) -> dict[str, Any]:
    """Send a job and wait for its end."""
    async with as_user(horde) as client, asyncio.timeout(limit_s):
        sent = await client.submit(job)
        return await ended(client, sent["uuid"])


async def ended(client: FacilitatorClient, uuid: str) -> dict[str, Any]:
    """Poll until the job has ended; a facilitator that is away is asked again."""
    while True:
        try:
            job = await client.job(uuid)
        except FacilitatorFault:
            await asyncio.sleep(0.2)
            continue
        if job["status_history"][-1]["status"] in FINAL:
            return job
        await asyncio.sleep(0.05)


async def reached(client: FacilitatorClient, uuid: str, state: str) -> None:
    """Wait until the job has passed ``state``."""
    async for entry in client.follow(uuid):
        if entry["status"] == state:
            return
    raise AssertionError(f"the job ended before {state}")


def state_of(job: dict[str, Any]) -> str:
    """Its last status."""
    return str(job["status_history"][-1]["status"])


def cause_of(job: dict[str, Any]) -> tuple[str, str | None]:
    """Reason and finer cause of a job that did not complete."""
    metadata = job["status_history"][-1]["metadata"]
    details = next(value for name, value in metadata.items() if name.endswith("_details") and value)
    return details["reason"], (details.get("context") or {}).get("cause")


async def idle_executors(horde: EmbeddedHorde, count: int, limit_s: float = 60) -> None:
    """Wait until so many executors are idle at the miner: one is back a moment after its last job's end."""
    address = horde.operators["miner"]
    async with aiohttp.ClientSession() as http, asyncio.timeout(limit_s):
        while True:
            await (await http.get(f"http://{address}/readyz")).read()  # which counts them
            metrics = await (await http.get(f"http://{address}/metrics")).text()
            if f"horde_miner_slots_idle {count:.1f}" in metrics.splitlines():
                return
            await asyncio.sleep(0.1)


async def nothing_left(horde: EmbeddedHorde, limit_s: float = 15) -> None:
    """Wait until no container that an executor of this horde made is on the machine."""
    async with asyncio.timeout(limit_s):
        while _job_containers(horde.folder):
            await asyncio.sleep(0.1)


def _job_containers(folder: Path) -> list[str]:
    listing = ["docker", "ps", "-a", "--format", '{{.ID}} {{.Label "horde.work_dir"}}']
    said = subprocess.run(listing, capture_output=True, text=True, check=True)
    return [line for line in said.stdout.splitlines() if f" {folder}/" in line]
