"""What an agent needs, by its settings file: key, database, chain, certificates, peers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.cli.checks.agents import (
    agent_finding,
    executor_findings,
    hotkey_finding,
    miner_finding,
)
from horde_agents.cli.checks.database import database_finding
from horde_agents.cli.checks.files import file_findings
from horde_agents.cli.checks.finding import Finding, wrong
from horde_agents.cli.checks.objects import object_findings
from horde_agents.jobs.classes import ClassesWrong, add_classes
from horde_agents.runtime.settings import SettingsWrong, load_settings

_Settings = TypeVar("_Settings", FacilitatorSettings, MinerSettings, ValidatorSettings)

# chain and cluster are imported where they are needed: most checks do without, and they take a second


async def of_miner(config: Path) -> AsyncIterator[Finding]:
    """A miner's settings, what they name, the miner itself, and the cluster that it is part of."""
    settings = _loaded(MinerSettings, "miner", config)
    if isinstance(settings, Finding):
        yield settings
        return
    found, signer = hotkey_finding(settings.hotkey_file)
    for finding in [found, await database_finding(settings.database_url), *file_findings(settings)]:
        yield finding
    if signer is not None and settings.chain_url:
        from horde_agents.cli.checks.chain import Registration, miner_findings

        served = (settings.axon_ip, settings.axon_port or settings.port) if settings.axon_ip else None
        where = Registration(settings.chain_url, settings.netuid, signer)
        async for finding in miner_findings(where, served, miner_finding):
            yield finding
    if settings.operator_port:
        operator = f"{settings.operator_host}:{settings.operator_port}"
        yield await agent_finding(operator)
        async for finding in executor_findings(operator):
            yield finding
    from horde_agents.cli.checks.cluster import cluster_findings

    async for finding in cluster_findings(settings):
        yield finding


async def of_validator(config: Path) -> AsyncIterator[Finding]:
    """A validator's settings, what they name, its trusted miner, its object store, the validator."""
    settings = _loaded(ValidatorSettings, "validator", config)
    if isinstance(settings, Finding):
        yield settings
        return
    found, signer = hotkey_finding(settings.hotkey_file)
    for finding in [found, await database_finding(settings.database_url), *file_findings(settings)]:
        yield finding
    if signer is not None and settings.chain_url:
        from horde_agents.cli.checks.chain import Registration, validator_findings

        async for finding in validator_findings(Registration(settings.chain_url, settings.netuid, signer)):
            yield finding
    if settings.trusted_miner is not None:
        yield await miner_finding(f"{settings.trusted_miner.host}:{settings.trusted_miner.port}")
    if settings.operator_port:
        yield await agent_finding(f"{settings.operator_host}:{settings.operator_port}")
    async for finding in object_findings(settings):
        yield finding


async def of_facilitator(config: Path) -> AsyncIterator[Finding]:
    """A facilitator's settings, what they name, the chain that it reads, the facilitator."""
    settings = _loaded(FacilitatorSettings, "facilitator", config)
    if isinstance(settings, Finding):
        yield settings
        return
    for finding in [await database_finding(settings.database_url), *file_findings(settings)]:
        yield finding
    if settings.chain_url:
        from horde_agents.cli.checks.chain import chain_finding

        yield await chain_finding(settings.chain_url, settings.netuid)
    if settings.operator_port:
        yield await agent_finding(f"{settings.operator_host}:{settings.operator_port}")


def _loaded(kind: type[_Settings], agent: str, config: Path) -> _Settings | Finding:
    """The settings, with their classes in the catalogue; else what is wrong with them."""
    try:
        settings = load_settings(kind, agent, config)
        add_classes(settings.class_file)
    except (SettingsWrong, ClassesWrong) as error:
        return wrong("settings", str(error))
    return settings
