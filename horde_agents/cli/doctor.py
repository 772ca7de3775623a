"""``horde doctor``: is this machine, and are these agents, fit to work? One line a check, with the remedy."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from horde_agents.cli.checks.agents import agent_finding, hotkey_finding, miner_finding
from horde_agents.cli.checks.configured import of_miner, of_validator
from horde_agents.cli.checks.finding import Finding
from horde_agents.cli.checks.machine import machine_findings
from horde_agents.cli.checks.versions import local_findings

_WAIVE: Final = "Name of a check that need not be fine here, such as runc or clock; may be repeated."


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A miner's settings file: check it and its cluster.")
    ] = None,
    validator_config: Annotated[
        Path | None, typer.Option(help="A validator's settings file: check what it needs.")
    ] = None,
    hotkey_file: Annotated[
        Path | None, typer.Option("--hotkey-file", "-k", help="Check this hotkey file too.")
    ] = None,
    operator: Annotated[
        list[str] | None, typer.Option(help="host:port of an agent's operator listener; may be repeated.")
    ] = None,
    miner: Annotated[list[str] | None, typer.Option(help="host:port of a miner's public listener.")] = None,
    waive: Annotated[list[str] | None, typer.Option(envvar="HORDE_DOCTOR_WAIVE", help=_WAIVE)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine and, if named, agents and a cluster; exit code 1 when something is wrong."""

    named = _Named(config, validator_config, hotkey_file, tuple(operator or ()), tuple(miner or ()))

    async def look() -> list[Finding]:
        return [waived(finding, waive or ()) async for finding in _all_of_it(named)]

    findings = asyncio.run(look())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.echo(f"  {_mark(finding)}  {finding.check:<24} {finding.says}")
    raise typer.Exit(0 if all(finding.fine for finding in findings) else 1)


@dataclass(frozen=True, slots=True)
class _Named:
    """What the command line names besides the machine."""

    miner_config: Path | None
    validator_config: Path | None
    hotkey_file: Path | None
    operators: tuple[str, ...]
    miners: tuple[str, ...]


async def _all_of_it(named: _Named) -> AsyncIterator[Finding]:
    runs_containers = named.validator_config is None or named.miner_config is not None
    for finding in [*await machine_findings(runs_containers=runs_containers), *local_findings()]:
        yield finding
    if named.hotkey_file is not None:
        yield hotkey_finding(named.hotkey_file)[0]
    for address in named.operators:
        yield await agent_finding(address)
    for address in named.miners:
        yield await miner_finding(address)
    if named.miner_config is not None:
        async for finding in of_miner(named.miner_config):
            yield finding
    if named.validator_config is not None:
        async for finding in of_validator(named.validator_config):
            yield finding


def waived(finding: Finding, names: Sequence[str]) -> Finding:
    """The finding; one that is wrong and whose check is among ``names`` becomes a note that says so."""
    if finding.fine or finding.check not in names:
        return finding
    return replace(finding, fine=True, note=True, says=f"waived: {finding.says}")


def _mark(finding: Finding) -> str:
    if not finding.fine:
        return typer.style("wrong", fg="red")
    return typer.style("note ", fg="yellow") if finding.note else typer.style("ok   ", fg="green")
