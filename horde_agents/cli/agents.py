"""``horde facilitator|validator|miner|executor …``: run the agents, and keep their lists."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from horde_agents.cli import lists, miner_jobs, miner_recover, validator_show
from horde_agents.cli.devchain import DevchainRefused, call
from horde_agents.jobs.classes import add_classes
from horde_agents.jobs.events import kind_of
from horde_agents.jobs.states import JobState
from horde_agents.protocol.signing import Hotkey as SigningHotkey
from horde_agents.runtime.garbage import settle
from horde_agents.runtime.logs import set_up_logs
from horde_agents.runtime.settings import AgentSettings, load_settings

S = TypeVar("S", bound=AgentSettings)
T = TypeVar("T")

facilitator = typer.Typer(help="The gateway for users.", no_args_is_help=True)
validator = typer.Typer(help="Takes jobs from facilitators and tries them at miners.", no_args_is_help=True)
miner = typer.Typer(help="Serves one UID with its executors.", no_args_is_help=True)
executor = typer.Typer(help="Keeps one slot and runs its jobs.", no_args_is_help=True)
validator.add_typer(validator_show.app, name="show")
miner.command("jobs")(miner_jobs.jobs)
miner.command("recover")(miner_recover.recover)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file (TOML); the environment goes before it.")
]
Hotkey = Annotated[str, typer.Argument(help="ss58 address.")]
Note = Annotated[str, typer.Option(help="Why, for those who read the list later.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _run(model: type[S], name: str, config: Path | None, serve: Callable[[S], Awaitable[None]]) -> None:
    settings = load_settings(model, name, config)
    set_up_logs(name, getattr(settings, "log_level", "info"))
    add_classes(getattr(settings, "class_file", None))
    settle()
    asyncio.run(_awaited(serve(settings)))


async def _awaited(work: Awaitable[T]) -> T:
    return await work


@facilitator.command("serve")
def serve_facilitator(config: Config = None) -> None:
    """Run the facilitator until SIGTERM."""
    from horde_agents.agents.facilitator.app import serve
    from horde_agents.agents.facilitator.settings import FacilitatorSettings

    _run(FacilitatorSettings, "facilitator", config, serve)


@validator.command("serve")
def serve_validator(
    config: Config = None,
    devchain_beacon: Annotated[
        bool,
        typer.Option(
            "--devchain-beacon", help="Make timelocked weights that a devchain can open; no other chain."
        ),
    ] = False,
) -> None:
    """Run the validator until SIGTERM."""
    from horde_agents.agents.validator.app import serve
    from horde_agents.agents.validator.settings import ValidatorSettings

    if devchain_beacon:
        _install_beacon(load_settings(ValidatorSettings, "validator", config).chain_url)
    _run(ValidatorSettings, "validator", config, serve)


@miner.command("serve")
def serve_miner(config: Config = None) -> None:
    """Run the miner until SIGTERM."""
    from horde_agents.agents.miner.app import serve
    from horde_agents.agents.miner.settings import MinerSettings

    _run(MinerSettings, "miner", config, serve)


@executor.command("serve")
def serve_executor(config: Config = None) -> None:
    """Hold one slot until SIGTERM; on a gpu node its job template gives the settings."""
    from horde_agents.agents.executor.holder import hold_slot
    from horde_agents.agents.executor.settings import ExecutorSettings

    settings = load_settings(ExecutorSettings, "executor", config)
    set_up_logs("executor", settings.log_level)
    raise typer.Exit(hold_slot(settings))


@facilitator.command("allow")
def allow_submitter(hotkey: Hotkey, config: Config = None, note: Note = "") -> None:
    """Let a hotkey submit jobs."""
    lists.put(_facilitator_database(config), hotkey, allowed=True, note=note)


@facilitator.command("deny")
def deny_submitter(hotkey: Hotkey, config: Config = None, note: Note = "") -> None:
    """Keep a hotkey from submitting jobs."""
    lists.put(_facilitator_database(config), hotkey, allowed=False, note=note)


@facilitator.command("list")
def list_submitters(config: Config = None, as_json: Json = False) -> None:
    """Show who may submit and who may not."""
    lists.show(_facilitator_database(config), as_json=as_json)


@validator.command("allow")
def allow_signatory(hotkey: Hotkey, config: Config = None, note: Note = "") -> None:
    """Run jobs that this hotkey signed (a facilitator's users sign their own)."""
    lists.put(_validator_database(config), hotkey, allowed=True, note=note)


@validator.command("deny")
def deny_signatory(hotkey: Hotkey, config: Config = None, note: Note = "") -> None:
    """Refuse jobs that this hotkey signed."""
    lists.put(_validator_database(config), hotkey, allowed=False, note=note)


@validator.command("list")
def list_signatories(config: Config = None, as_json: Json = False) -> None:
    """Show whose jobs are run and whose are not."""
    lists.show(_validator_database(config), as_json=as_json)


@validator.command("run-job")
def run_own_job(
    image: Annotated[str, typer.Argument(help="Image name; a digest is best.")],
    args: Annotated[list[str] | None, typer.Argument(help="The command, after `--`.")] = None,
    config: Config = None,
    miner_hotkey: Annotated[
        str, typer.Option("--miner", help="Miner hotkey; empty: routed like any job.")
    ] = "",
    executor_class: Annotated[str, typer.Option("--class", help="Executor class.")] = "always_on.test",
    execution_s: Annotated[int, typer.Option(help="Seconds for the container.")] = 60,
) -> None:
    """Send a job of the validator's own to a chosen or routed miner, without a facilitator."""
    from horde_agents.agents.validator.run_job import run_own_job as run
    from horde_agents.agents.validator.settings import ValidatorSettings

    settings = load_settings(ValidatorSettings, "validator", config)
    set_up_logs("validator", settings.log_level)
    body = {
        "executor_class": executor_class,
        "docker_image": image,
        "args": args or [],
        "download_time_limit": 10,
        "execution_time_limit": execution_s,
        "upload_time_limit": 10,
    }
    wanted = SigningHotkey(miner_hotkey) if miner_hotkey else None
    outcome = asyncio.run(run(settings, body, wanted, lambda event: typer.echo(kind_of(event), err=True)))
    typer.echo(getattr(outcome.event, "stdout", None) or getattr(outcome.event, "message", ""), nl=False)
    typer.echo(f"job {outcome.uuid}: {outcome.state.value}", err=True)
    raise typer.Exit(0 if outcome.state is JobState.COMPLETED else 1)


def _install_beacon(chain_url: str | None) -> None:
    from horde_agents.devchain.beacon import NotADevchain, install_beacon

    if not chain_url:
        raise DevchainRefused("--devchain-beacon needs a chain: set chain_url to a devchain's address.")
    address = chain_url.replace("ws://", "http://").replace("wss://", "https://")
    try:
        install_beacon(str(asyncio.run(call(address, "chain_getBlockHash", [0]))))
    except NotADevchain as error:
        raise DevchainRefused(str(error)) from error


def _facilitator_database(config: Path | None) -> str:
    from horde_agents.agents.facilitator.settings import FacilitatorSettings

    return load_settings(FacilitatorSettings, "facilitator", config).database_url


def _validator_database(config: Path | None) -> str:
    from horde_agents.agents.validator.settings import ValidatorSettings

    return load_settings(ValidatorSettings, "validator", config).database_url
