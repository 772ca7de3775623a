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
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from horde_agents.cli import cycles_demo, placement
from horde_agents.cli.cluster import GPU_CLASS, ClusterHorde, ClusterPlan, ProgramMissing, cluster_horde
from horde_agents.cli.embedded import EmbeddedFailed, EmbeddedHorde, embedded_horde
from horde_agents.cli.jobs import print_job
from horde_agents.clients.facilitator import facilitator_client
from horde_agents.placement.holders import ALL
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.receipts.pages import page_of
from horde_agents.testing.nomad_server import FakeGpu
from horde_agents.testing.server_process import ServerNotUp

IMAGE: Final = "127.0.0.1:5001/horde/job:1"
_SCRIPT: Final = 'echo "Hello, $NAME, from $(hostname)"; cat /volume/poem.txt | tee /artifacts/poem.txt; id'


class DemoFailed(Exception):
    """The demo did not come to its end; the text says where it stopped and what to look at."""


def demo(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Executors on a real Nomad, placement in a real Consul.")
    ] = False,
    cycles: Annotated[
        int,
        typer.Option(min=0, help="Validators score and weigh miners, one of which cheats, so many cycles."),
    ] = 0,
    keep: Annotated[bool, typer.Option(help="Leave databases, keys and logs in their folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished job as JSON.")] = False,
) -> None:
    """Start a horde, send a job as the SDK does, show its way, output, artifacts and receipts, end it all."""
    folder = Path(tempfile.mkdtemp(prefix="horde-demo-"))
    begun = time.monotonic()
    try:
        if cycles:
            _show_cycles(folder, cycles)
            return
        with ExitStack() as stack:
            horde, running = _started(folder, stack, cluster=cluster)
            typer.echo(f"{_what_runs(running)} are ready ({time.monotonic() - begun:.1f} s)", err=True)
            job, receipts = _one_job(horde, running)
            if not as_json:
                _show(job, receipts)
            _check(job, receipts)
            if running is not None and not as_json:
                _show_dance(running)
            _check_nothing_left(folder)
        if as_json:
            typer.echo(json.dumps({"job": job, "receipts": receipts}))
    except (EmbeddedFailed, ServerNotUp, ProgramMissing) as error:
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


def _show_cycles(folder: Path, cycles: int) -> None:
    begun = time.monotonic()

    def tell(line: str) -> None:
        typer.echo(f"{time.monotonic() - begun:5.0f} s  {line}", err=True)

    tell("starting the devchain, two validators and three miners, one of which makes its answers up")
    with cycles_demo.cycles_horde(folder) as horde:
        tell(f"ready; a cycle is {cycles_demo.CYCLE_BLOCKS} blocks of {cycles_demo.BLOCK_S:g} s")
        found = cycles_demo.wait_for_weights(horde, cycles, tell)
        cycles_demo.show(horde, found)
        if not cycles_demo.cheat_has_lost(horde, found):
            raise DemoFailed("the miner that cheats has got weight")
    _check_nothing_left(folder)
    typer.echo(
        f"\nDone in {time.monotonic() - begun:.0f} s: the weights are on the chain, the cheat has none."
    )


def _started(folder: Path, stack: ExitStack, *, cluster: bool) -> tuple[EmbeddedHorde, ClusterHorde | None]:
    if not cluster:
        return stack.enter_context(embedded_horde(folder)), None
    typer.echo("starting Consul, Nomad, two gpu nodes and the agents (about 15 s) …", err=True)
    gpus = {f"gpu{node}": [FakeGpu(f"GPU-{node}{letter}") for letter in "abc"] for node in (1, 2)}
    overrides = {"miner": {"dance_largest_share": 0.5}}
    running = stack.enter_context(
        cluster_horde(folder, ClusterPlan(gpus, {GPU_CLASS: ALL}, overrides=overrides))
    )
    return running.horde, running


def _what_runs(cluster: ClusterHorde | None) -> str:
    if cluster is None:
        return "devchain, facilitator, validator and miner"
    return f"Nomad ({cluster.nomad[0].url}/ui), Consul ({cluster.consul[0].url}/ui), devchain and agents"


def _one_job(
    horde: EmbeddedHorde, cluster: ClusterHorde | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    known = _published(horde)
    job = asyncio.run(_send(horde, GPU_CLASS if cluster else "always_on.test"))
    return job, _receipts(horde, len(known))


def _show_dance(cluster: ClusterHorde) -> None:
    """Who has which slots, before and after a dance that restarts no holder."""
    config = cluster.horde.folder / "miner.toml"
    holders = _holders(cluster)
    typer.echo("\n$ horde placement show")
    placement.show(config)
    typer.echo("\n$ horde placement dance")
    placement.dance(config, 60.0)
    typer.echo("\n$ horde placement show")
    placement.show(config)
    if _holders(cluster) != holders:
        raise DemoFailed("the dance restarted a holder")
    job, receipts = _one_job(cluster.horde, cluster)
    _check(job, receipts)
    typer.echo(f"\nThe {len(holders)} holders are the same allocations as before; another job has completed.")


def _holders(cluster: ClusterHorde) -> list[str]:
    """The running allocations."""
    with urllib.request.urlopen(f"{cluster.nomad[0].url}/v1/allocations", timeout=5) as reply:  # noqa: S310
        return sorted(row["ID"] for row in json.load(reply) if row["ClientStatus"] == "running")


async def _send(horde: EmbeddedHorde, executor_class: str) -> dict[str, Any]:
    request = {
        "executor_class": executor_class,
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


def _receipts(horde: EmbeddedHorde, known: int) -> list[dict[str, Any]]:
    """The newest job's three receipts, once they are beside the ``known`` ones of before."""
    deadline = time.monotonic() + 10
    while len(found := _published(horde)) < known + 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    return found[known:]


def _published(horde: EmbeddedHorde) -> list[dict[str, Any]]:
    """All receipts, oldest first, as any validator reads them from the miners' pages."""
    found = [line for miner in horde.miners.values() for page in _pages() for line in _page(miner, page)]
    return sorted(found, key=lambda line: str(line["payload"]["timestamp"]))


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


def _check_nothing_left(folder: Path) -> None:
    """That no container of this demo is on the machine: each is removed after its job has been reported."""
    listing = ["docker", "ps", "-a", "--format", '{{.ID}} {{.Label "horde.work_dir"}}']
    deadline = time.monotonic() + 10
    while True:
        shown = subprocess.run(listing, capture_output=True, text=True, check=False).stdout.splitlines()
        left = [line.split()[0] for line in shown if f" {folder}/" in line]
        if not left:
            return
        if time.monotonic() > deadline:
            raise DemoFailed(f"containers are left: {', '.join(left)}")
        time.sleep(0.1)
