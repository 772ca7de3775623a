"""Sends jobs one after another until a file is there, and notes what becomes of each.

    sender.py send FACILITATOR VALIDATOR KEY_FILE IMAGE CLASS NOTES STOP
        until STOP exists
    sender.py check NOTES VALIDATOR KEY_FILE FACILITATOR …
        each noted job has to have ended at one of these

Run by the published SDK's own Python.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bittensor_wallet import Keypair
from compute_horde_sdk.v1 import ComputeHordeClient, ComputeHordeJobSpec, ExecutorClass

PAUSE_S = 3
# who got no result asks again soon, so that the time without one is known well
PAUSE_WITHOUT_S = 0.5
PATIENCE_S = 120
FINAL = {"completed", "failed", "rejected", "horde_failed"}


def client_of(facilitator: str, validator: str, key_file: str) -> ComputeHordeClient:
    hotkey = Keypair.create_from_seed(json.loads(Path(key_file).read_text())["secretSeed"])
    return ComputeHordeClient(
        hotkey=hotkey, compute_horde_validator_hotkey=validator, facilitator_url=facilitator
    )


def word(status: object) -> str:
    return str(getattr(status, "value", status)).lower()


async def send(
    facilitator: str, validator: str, key_file: str, image: str, executor_class: str, notes: str, stop: str
) -> None:
    spec = ComputeHordeJobSpec(
        executor_class=ExecutorClass(executor_class),
        job_namespace="SN123.0",
        docker_image=image,
        download_time_limit_sec=10,
        execution_time_limit_sec=20,
        upload_time_limit_sec=10,
        args=["sh", "-c", "sleep 3; echo done"],
    )
    client = client_of(facilitator, validator, key_file)
    while not Path(stop).exists():
        begun = time.time()
        note: dict[str, object] = {"at": begun}
        try:
            job = await client.create_job(spec)
            note["uuid"] = job.uuid
            await job.wait(timeout=PATIENCE_S)
            note["status"] = word(job.status)
            note["error"] = str(job.error or "")
        except Exception as error:  # noqa: BLE001  (whatever a user gets while a machine is gone)
            note["error"] = repr(error)[:300]
        note["took_s"] = round(time.time() - begun, 1)
        with Path(notes).open("a") as sink:
            sink.write(json.dumps(note) + "\n")
        await asyncio.sleep(PAUSE_S if note.get("status") == "completed" else PAUSE_WITHOUT_S)


async def found_status(uuid: str, clients: list[ComputeHordeClient]) -> str:
    """What the facilitator that has the job says of it."""
    for client in clients:
        try:
            return word((await client.get_job(uuid)).status)
        except Exception:  # noqa: BLE001, S112  (it is away, or has not this job)
            continue
    return "unknown"


def longest_without(noted: list[dict[str, Any]]) -> float:
    """The longest time in seconds from one that was refused or failed until the next job that was done
    was sent.
    """
    longest, since = 0.0, None
    for note in noted:
        if note.get("status") != "completed":
            since = note["at"] if since is None else since
            longest = max(longest, note["at"] + note["took_s"] - since)
        elif since is not None:
            longest, since = max(longest, note["at"] - since), None
    return round(longest, 1)


async def check(notes: str, validator: str, key_file: str, *facilitators: str) -> None:
    clients = [client_of(facilitator, validator, key_file) for facilitator in facilitators]
    noted = [json.loads(line) for line in Path(notes).read_text().splitlines()]
    uuids = [str(note["uuid"]) for note in noted if "uuid" in note]
    counts: dict[str, int] = {}
    for uuid in uuids:
        status = await found_status(uuid, clients)
        counts[status] = counts.get(status, 0) + 1
    counts["refused"] = len(noted) - len(uuids)
    print(json.dumps({**counts, "longest_without_s": longest_without(noted)}))
    if not counts.get("completed") or set(counts) - FINAL - {"refused"}:
        sys.exit(1)


DOES: dict[str, Callable[..., Coroutine[None, None, None]]] = {"send": send, "check": check}

if __name__ == "__main__":
    asyncio.run(DOES[sys.argv[1]](*sys.argv[2:]))
