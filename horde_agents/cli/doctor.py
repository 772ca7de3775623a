"""``horde doctor``: is this machine, and are these agents, fit to work? One line a check, with the remedy."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from horde_agents.cli.checks.agents import agent_finding, hotkey_finding, miner_finding
from horde_agents.cli.checks.configured import of_facilitator, of_miner, of_validator
from horde_agents.cli.checks.finding import Finding
from horde_agents.cli.checks.machine import machine_findings
from horde_agents.cli.checks.waivers import Waivers, profiles

_WAIVE: Final = "Name of a check that need not be fine here, such as runc or clock; may be repeated."
_MACHINE: Final = "Look at this machine, too; inside an agent's container there is nothing to see of it."


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A miner's settings file: check it and its cluster.")
    ] = None,
    validator_config: Annotated[
        Path | None, typer.Option(help="A validator's settings file: check what it needs.")
    ] = None,
    facilitator_config: Annotated[
        Path | None, typer.Option(help="A facilitator's settings file: check what it needs.")
    ] = None,
    hotkey_file: Annotated[
        Path | None, typer.Option("--hotkey-file", "-k", help="Check this hotkey file too.")
    ] = None,
    operator: Annotated[
        list[str] | None, typer.Option(help="host:port of an agent's operator listener; may be repeated.")
    ] = None,
    miner: Annotated[list[str] | None, typer.Option(help="host:port of a miner's public listener.")] = None,
    machine: Annotated[bool, typer.Option(help=_MACHINE)] = True,
    gpu_image: Annotated[
        str, typer.Option(help="An image that is here: a container of it has to get all GPUs.")
    ] = "",
    waive: Annotated[list[str] | None, typer.Option(envvar="HORDE_DOCTOR_WAIVE", help=_WAIVE)] = None,
    profile: Annotated[str, typer.Option(help="Waive what this profile names: test.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine and, if named, agents and a cluster; exit code 1 when something is wrong."""
    if profile not in ("", *profiles()):
        raise typer.BadParameter(f"there is no profile {profile!r}; there are: {', '.join(profiles())}")
    configs = _Configs(config, validator_config, facilitator_config)
    named = _Named(configs, hotkey_file, tuple(operator or ()), tuple(miner or ()), machine, gpu_image)
    waivers = Waivers(waive or (), profile)

    async def look() -> list[Finding]:
        return [waivers.applied(finding) async for finding in _all_of_it(named)]

    findings = asyncio.run(look())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.echo(f"  {_mark(finding)}  {finding.check:<24} {finding.says}")
    raise typer.Exit(0 if all(finding.fine for finding in findings) else 1)


@dataclass(frozen=True, slots=True)
class _Configs:
    """Agents' settings files."""

    miner: Path | None
    validator: Path | None
    facilitator: Path | None

    @property
    def run_no_container(self) -> bool:
        """Whether an agent is named, and none that has executors."""
        return self.miner is None and not (self.validator is None and self.facilitator is None)


@dataclass(frozen=True, slots=True)
class _Named:
    """What the command line names."""

    configs: _Configs
    hotkey_file: Path | None
    operators: tuple[str, ...]
    miners: tuple[str, ...]
    machine: bool
    gpu_image: str


async def _all_of_it(named: _Named) -> AsyncIterator[Finding]:
    configs = named.configs
    if named.machine:
        runs_containers = not configs.run_no_container
        for finding in machine_findings(runs_containers=runs_containers, gpu_image=named.gpu_image):
            yield finding
    if named.hotkey_file is not None:
        yield hotkey_finding(named.hotkey_file)[0]
    for address in named.operators:
        yield await agent_finding(address)
    for address in named.miners:
        yield await miner_finding(address)
    asked = [
        (configs.miner, of_miner),
        (configs.validator, of_validator),
        (configs.facilitator, of_facilitator),
    ]
    for config, of_agent in asked:
        if config is not None:
            async for finding in of_agent(config):
                yield finding


def _mark(finding: Finding) -> str:
    if not finding.fine:
        return typer.style("wrong", fg="red")
    return typer.style("note ", fg="yellow") if finding.note else typer.style("ok   ", fg="green")
