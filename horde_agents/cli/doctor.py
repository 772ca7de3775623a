"""``horde doctor``: is this machine, and are these agents, fit to work? One line a check, with the remedy."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import aiohttp
import typer

from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.clients.docker import DockerEngine, EngineFault
from horde_agents.jobs.classes import ClassesWrong, add_classes
from horde_agents.protocol.signing import KeypairSigner, WalletUnreadable
from horde_agents.runtime.settings import SettingsWrong, load_settings

_ANSWER_S: Final = 3.0
_FREE_BYTES: Final = 10 * 1024**3
_OLDEST: Final = (3, 11)


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A miner's settings file: check it and its cluster.")
    ] = None,
    hotkey_file: Annotated[
        Path | None, typer.Option("--hotkey-file", "-k", help="Check this hotkey file too.")
    ] = None,
    operator: Annotated[
        list[str] | None, typer.Option(help="host:port of an agent's operator listener; may be repeated.")
    ] = None,
    miner: Annotated[list[str] | None, typer.Option(help="host:port of a miner's public listener.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine and, if named, agents and a cluster; exit code 1 when something is wrong."""
    checks: list[Callable[[], Awaitable[Finding]]] = [_python, _disk, _docker]
    if hotkey_file is not None:
        checks.append(lambda: _hotkey(hotkey_file))
    checks += [_bound(_agent, address) for address in operator or ()]
    checks += [_bound(_miner, address) for address in miner or ()]

    async def look() -> list[Finding]:
        of_config = [] if config is None else [finding async for finding in _of_miner(config)]
        return [await check() for check in checks] + of_config

    findings = asyncio.run(look())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.echo(f"  {_mark(finding)}  {finding.check:<24} {finding.says}")
    raise typer.Exit(0 if all(finding.fine for finding in findings) else 1)


def _mark(finding: Finding) -> str:
    if not finding.fine:
        return typer.style("wrong", fg="red")
    return typer.style("note ", fg="yellow") if finding.note else typer.style("ok   ", fg="green")


async def _of_miner(config: Path) -> AsyncIterator[Finding]:
    """A miner's settings, its secrets, the miner itself, and the cluster that it is part of."""
    try:
        settings = load_settings(MinerSettings, "miner", config)
        add_classes(settings.class_file)
    except (SettingsWrong, ClassesWrong) as error:
        yield wrong("settings", str(error))
        return
    yield await _hotkey(settings.hotkey_file)
    if settings.operator_port:
        operator = f"{settings.operator_host}:{settings.operator_port}"
        yield await _agent(operator)
        async for finding in _executors(operator):
            yield finding
    from horde_agents.cli.checks.cluster import cluster_findings  # imports what most checks do not need

    async for finding in cluster_findings(settings):
        yield finding


async def _executors(operator: str) -> AsyncIterator[Finding]:
    """Executors that the miner has turned away lately, and why."""
    status, text = await _get(f"http://{operator}/executors")
    for refused in json.loads(text)["refused"] if status == 200 else ():
        who = f"executor {refused['slot_id'] or 'of an unknown slot'} at {refused['peer']}"
        yield wrong("refused", f"{who}, {refused['ago_s']:.0f} s ago: {refused['why']}")


def _bound(check: Callable[[str], Awaitable[Finding]], address: str) -> Callable[[], Awaitable[Finding]]:
    return lambda: check(address)


async def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST:
        return wrong("Python", f"{version}; install 3.11 or newer")
    return fine("Python", version)


async def _disk() -> Finding:
    free = shutil.disk_usage("/var/lib/docker" if Path("/var/lib/docker").exists() else "/").free
    text = f"{free / 1024**3:.0f} GiB free for images and jobs"
    return wrong("disk", f"{text}; free up to 10 GiB") if free < _FREE_BYTES else fine("disk", text)


async def _docker() -> Finding:
    try:
        await DockerEngine().labelled({"horde.doctor": "none"})
    except EngineFault as error:
        return wrong("Docker", f"{error!s:.160} Start it: systemctl start docker")
    return fine("Docker", "the daemon answers")


async def _hotkey(path: Path) -> Finding:
    try:
        signer = KeypairSigner.from_hotkey_file(path)
    except WalletUnreadable as error:
        return wrong("hotkey", str(error))
    if path.stat().st_mode & 0o077:
        return wrong("hotkey", f"{path} is readable by others; run: chmod 600 {path}")
    return fine("hotkey", signer.hotkey)


async def _agent(address: str) -> Finding:
    status, text = await _get(f"http://{address}/readyz")
    if status == 200:
        return fine(f"agent {address}", "ready")
    if status == 503:
        faults = json.loads(text)["wrong"]
        return wrong(f"agent {address}", "; ".join(f"{name}: {why}" for name, why in faults.items()))
    return wrong(f"agent {address}", f"{text}; is it running, and is this its operator port?")


async def _miner(address: str) -> Finding:
    status, text = await _get(f"http://{address}/admin/login/")
    if status != 200:
        return wrong(f"miner {address}", f"{text}; open the port in the firewall and check the axon")
    _, version = await _get(f"http://{address}/version")
    return fine(f"miner {address}", f"reachable, {version}")


async def _get(url: str) -> tuple[int, str]:
    try:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as reply:
            return reply.status, await reply.text()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return 0, f"no answer ({type(error).__name__})"
