"""``horde job …``: a user's jobs at a facilitator, as the SDK sends them."""

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from horde_agents.cli.timeline import Mark, timeline
from horde_agents.clients.facilitator import FacilitatorClient, facilitator_client
from horde_agents.protocol.signing import KeypairSigner

T = TypeVar("T")

app = typer.Typer(help="Send jobs and look at them.", no_args_is_help=True)

Url = Annotated[
    str, typer.Option("--facilitator", "-f", envvar="HORDE_FACILITATOR_ADDRESS", help="Its address.")
]
Key = Annotated[
    Path,
    typer.Option(
        "--hotkey-file", "-k", envvar="HORDE_HOTKEY_FILE", help="Your wallet's unencrypted hotkey file."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Uuid = Annotated[str, typer.Argument(help="The job's uuid.")]
_LOCAL = "http://127.0.0.1:9000"
#: Exit codes by final state.
_EXIT = {"completed": 0, "failed": 1, "rejected": 3, "horde_failed": 4}


@app.command("run")
def run_job(
    image: Annotated[str, typer.Argument(help="Image name; a digest is best.")],
    args: Annotated[list[str] | None, typer.Argument(help="The command, after `--`.")] = None,
    hotkey_file: Key = Path("hotkey"),
    facilitator: Url = _LOCAL,
    executor_class: Annotated[str, typer.Option("--class", help="Executor class.")] = "always_on.test",
    validator: Annotated[str, typer.Option(help="Validator hotkey; empty: the facilitator chooses.")] = "",
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=value; may be repeated.")] = None,
    artifacts_dir: Annotated[
        str, typer.Option(help="Directory in the container whose files come back.")
    ] = "",
    download_s: Annotated[int, typer.Option(help="Seconds for volumes.")] = 10,
    execution_s: Annotated[int, typer.Option(help="Seconds for the container.")] = 60,
    upload_s: Annotated[int, typer.Option(help="Seconds for uploads.")] = 10,
    as_json: Json = False,
) -> None:
    """Send a job, show it travel, print its output; the exit code tells the outcome."""
    request: dict[str, Any] = {
        "target_validator_hotkey": validator or None,
        "executor_class": executor_class,
        "docker_image": image,
        "args": args or [],
        "env": dict(_pair(item) for item in env or ()),
        "artifacts_dir": artifacts_dir or None,
        "download_time_limit": download_s,
        "execution_time_limit": execution_s,
        "upload_time_limit": upload_s,
    }

    async def run(client: FacilitatorClient) -> dict[str, Any]:
        job = await client.submit(request)
        show = _Progress(quiet=as_json)
        async for entry in client.follow(job["uuid"]):
            show.status(job["uuid"], entry)
        return await client.job(job["uuid"])

    job = _with_client(facilitator, hotkey_file, run)
    state = job["status_history"][-1]["status"]
    if as_json:
        typer.echo(json.dumps(job))
    else:
        print_job(job)
    raise typer.Exit(_EXIT[state])


@app.command("list")
def list_jobs(
    hotkey_file: Key = Path("hotkey"),
    facilitator: Url = _LOCAL,
    page: Annotated[int, typer.Option(min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Your jobs, newest first."""
    found = _with_client(facilitator, hotkey_file, lambda client: client.jobs(page))
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("uuid", "state", "class", "image", "created", box=None, pad_edge=False)
    for job in found["results"]:
        state = job["status_history"][-1]["status"]
        table.add_row(
            job["uuid"], state, job["executor_class"], job["docker_image"][:40], job["created_at"][:19]
        )
    Console().print(table)
    typer.echo(f"{found['count']} jobs, page {page}")


@app.command("show")
def show_job(
    uuid: Uuid, hotkey_file: Key = Path("hotkey"), facilitator: Url = _LOCAL, as_json: Json = False
) -> None:
    """One job: its output, artifacts, and why it ended."""
    job = _with_client(facilitator, hotkey_file, lambda client: client.job(uuid))
    if as_json:
        typer.echo(json.dumps(job))
    else:
        print_job(job)


@app.command("story")
def story(
    uuid: Uuid, hotkey_file: Key = Path("hotkey"), facilitator: Url = _LOCAL, as_json: Json = False
) -> None:
    """How the job travelled, as a timeline."""
    job = _with_client(facilitator, hotkey_file, lambda client: client.job(uuid))
    if as_json:
        typer.echo(json.dumps(job["status_history"]))
    else:
        print_story(job)


@app.command("cancel")
def cancel(uuid: Uuid, hotkey_file: Key = Path("hotkey"), facilitator: Url = _LOCAL) -> None:
    """Take a job back."""
    _with_client(facilitator, hotkey_file, lambda client: client.cancel(uuid))
    typer.echo(f"{uuid} is being cancelled.")


def print_story(job: dict[str, Any]) -> None:
    """The timeline of a job."""
    marks = [
        Mark(entry["status"], datetime.fromisoformat(entry["created_at"]), _note(entry["metadata"] or {}))
        for entry in job["status_history"]
    ]
    typer.echo(f"job {job['uuid']}")
    for line in timeline(marks, Console().width):
        typer.echo(line)


def print_job(job: dict[str, Any]) -> None:
    """Timeline, output and artifacts."""
    print_story(job)
    for name in ("stdout", "stderr"):
        if job[name]:
            typer.echo(f"{name}:")
            for line in job[name].rstrip("\n").split("\n"):
                typer.echo(f"  {line}")
    for path, content in job["artifacts"].items():
        typer.echo(f"artifact {path}: {len(base64.b64decode(content))} bytes")
    for path in job["upload_results"]:
        typer.echo(f"uploaded {path}")


def _note(metadata: dict[str, Any]) -> str:
    for key in ("horde_failure_details", "job_failure_details", "job_rejection_details"):
        if details := metadata.get(key):
            return f"{details['reason']}: {details['message']}"
    return ""


class _Progress:
    """One line a status, on standard error, where a person watches."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()

    def status(self, uuid: str, entry: dict[str, Any]) -> None:
        if not self._quiet:
            typer.echo(f"{uuid[:8]}  {entry['status']}", err=True)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"--env {text!r}: write NAME=value")
    return name, value


def _with_client(url: str, hotkey_file: Path, use: Callable[[FacilitatorClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with facilitator_client(url, KeypairSigner.from_hotkey_file(hotkey_file)) as client:
            return await use(client)

    return asyncio.run(run())
