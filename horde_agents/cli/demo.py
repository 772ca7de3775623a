"""``horde demo``: one real Docker job through all four agents on this machine, shown as it travels."""

import asyncio
import base64
import io
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from horde_agents.cli.embedded import EmbeddedFailed, EmbeddedHorde, embedded_horde
from horde_agents.cli.jobs import print_job
from horde_agents.clients.facilitator import facilitator_client
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.receipts.pages import page_of

IMAGE: Final = "127.0.0.1:5001/horde/job:1"
_SCRIPT: Final = 'echo "Hello, $NAME, from $(hostname)"; cat /volume/poem.txt | tee /artifacts/poem.txt; id'


class DemoFailed(Exception):
    """The demo did not come to its end; the text says where it stopped and what to look at."""


def demo(
    keep: Annotated[bool, typer.Option(help="Leave databases, keys and logs in their folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished job as JSON.")] = False,
) -> None:
    """Start a horde, send a job as the SDK does, show its way, output, artifacts and receipts, end it all."""
    folder = Path(tempfile.mkdtemp(prefix="horde-demo-"))
    begun = time.monotonic()
    try:
        with embedded_horde(folder) as horde:
            typer.echo(
                f"devchain, facilitator, validator and miner are ready ({time.monotonic() - begun:.1f} s)",
                err=True,
            )
            job = asyncio.run(_send(horde))
            receipts = _receipts(horde)
        if as_json:
            typer.echo(json.dumps({"job": job, "receipts": receipts}))
        else:
            _show(job, receipts)
        _check(job, receipts)
    except EmbeddedFailed as error:
        keep = True
        raise DemoFailed(str(error)) from error
    finally:
        if keep:
            typer.echo(f"files are kept in {folder}", err=True)
        else:
            shutil.rmtree(folder)
    if not as_json:
        typer.echo(
            f"\nDone in {time.monotonic() - begun:.1f} s: the job is completed and nothing is left running."
        )


async def _send(horde: EmbeddedHorde) -> dict[str, Any]:
    request = {
        "executor_class": "always_on.test",
        "docker_image": IMAGE,
        "args": ["sh", "-c", _SCRIPT],
        "env": {"NAME": "world"},
        "artifacts_dir": "/artifacts",
        "target_validator_hotkey": horde.validator,
        "download_time_limit": 10,
        "execution_time_limit": 30,
        "upload_time_limit": 10,
        "volumes": [{"volume_type": "inline", "contents": _poem(), "relative_path": None}],
    }
    async with facilitator_client(
        horde.facilitator, KeypairSigner.from_hotkey_file(horde.user_file)
    ) as client:
        job = await client.submit(request)
        async for _ in client.follow(job["uuid"]):
            continue
        return await client.job(job["uuid"])


def _poem() -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(
            "poem.txt", "many small engines\none clock, no center, no queue\nthe horde has answered\n"
        )
    return base64.b64encode(packed.getvalue()).decode()


def _receipts(horde: EmbeddedHorde) -> list[dict[str, Any]]:
    """All three receipts, as any validator reads them from the miner's pages."""
    deadline = time.monotonic() + 10
    while True:
        found = [line for page in _pages() for line in _page(horde.miner, page)]
        if len(found) >= 3 or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def _pages() -> tuple[int, int]:
    page = page_of(time.time())
    return page - 1, page


def _page(miner: str, page: int) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{miner}/receipts/{page}.jsonl", timeout=3) as reply:  # noqa: S310
            return [json.loads(line) for line in reply.read().decode().splitlines()]
    except OSError:
        return []


def _show(job: dict[str, Any], receipts: list[dict[str, Any]]) -> None:
    print_job(job)
    for line in receipts:
        payload = line["payload"]
        signed = "signed by validator and miner" if line["miner_signature"] else "signed by validator"
        worth = f", worth {payload['score_str']} s" if "score_str" in payload else ""
        typer.echo(f"receipt {payload['receipt_type']}: {signed}{worth}")


def _check(job: dict[str, Any], receipts: list[dict[str, Any]]) -> None:
    last = job["status_history"][-1]
    if last["status"] != "completed":
        raise DemoFailed(f"the job ended as {last['status']}: {json.dumps(last['metadata'])}")
    if len(receipts) != 3:
        raise DemoFailed(f"the miner published {len(receipts)} receipts instead of 3")
    left = subprocess.run(
        ["docker", "ps", "-aq", "--filter", f"name=horde-{job['uuid']}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if left.stdout.strip():
        raise DemoFailed(f"a container is left: {left.stdout.strip()}")
