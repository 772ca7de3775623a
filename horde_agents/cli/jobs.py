"""``horde job …``: a user's jobs at a facilitator, as the SDK sends them."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table

from horde_agents.cli.progress import travelling
from horde_agents.cli.timeline import Mark, timeline
from horde_agents.clients.facilitator import FacilitatorClient, facilitator_client
from horde_agents.protocol.signing import KeypairSigner

T = TypeVar("T")

app = typer.Typer(help="Send jobs and look at them.", no_args_is_help=True)

Url = Annotated[str, typer.Option("--facilitator", "-f", envvar="HORDE_JOB_FACILITATOR", help="Its address.")]
Key = Annotated[
    Path,
    typer.Option(
        "--hotkey-file", "-k", envvar="HORDE_JOB_HOTKEY_FILE", help="Your wallet's unencrypted hotkey file."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Uuid = Annotated[str, typer.Argument(help="The job's uuid.")]
_LOCAL = "http://127.0.0.1:9000"
_CLASS = "always_on.test"
#: Columns of the list that are to be copied or compared, and how wide they are; others give way.
_WHOLE = {"uuid": 36, "state": 14, "created": 16}
#: Columns for whoever is no terminal, and so cuts nothing.
_PIPED_WIDTH = 250
#: Exit codes by final state.
_EXIT = {"completed": 0, "failed": 1, "rejected": 3, "horde_failed": 4}


@app.command("run")
def run_job(
    image: Annotated[str, typer.Argument(help="Image name; a digest is best.")],
    args: Annotated[list[str] | None, typer.Argument(help="The command, after `--`.")] = None,
    hotkey_file: Key = Path("hotkey"),
    facilitator: Url = _LOCAL,
    executor_class: Annotated[
        list[str] | None,
        typer.Option("--class", help="Executor class; may be repeated: the cheapest that is free is taken."),
    ] = None,
    wait_s: Annotated[int, typer.Option("--wait", min=0, help="Seconds to wait for a free executor.")] = 0,
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
    classes = executor_class or [_CLASS]
    request: dict[str, Any] = {
        "target_validator_hotkey": validator or None,
        "executor_class": classes[0],
        "docker_image": image,
        "args": args or [],
        "env": dict(_pair(item) for item in env or ()),
        "artifacts_dir": artifacts_dir or None,
        "download_time_limit": download_s,
        "execution_time_limit": execution_s,
        "upload_time_limit": upload_s,
    }

    async def run(client: FacilitatorClient) -> dict[str, Any]:
        if wait_s or len(classes) > 1:
            job = await client.submit_whole({**request, "executor_classes": classes, "wait_s": wait_s})
        else:
            job = await client.submit(request)
        with travelling(job["uuid"], quiet=as_json) as reached:
            async for entry in client.follow(job["uuid"]):
                reached(entry["status"])
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
    uuid, state, created = (Column(name, min_width=width) for name, width in _WHOLE.items())
    table = Table(uuid, state, created, "class", "image", box=None, pad_edge=False)
    for job in found["results"]:
        status = job["status_history"][-1]["status"]
        at = job["created_at"][:16].replace("T", " ")
        table.add_row(job["uuid"], status, at, job["executor_class"], job["docker_image"])
    console = Console()
    console.print(table, width=None if console.is_terminal else _PIPED_WIDTH)
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
