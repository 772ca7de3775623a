"""A horde's cluster as one of its miners sees it, by that miner's settings."""

from collections.abc import AsyncIterator

from horde_agents.agents.miner.placed.stores import shared_store
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.cli.checks.consul import consul_findings, rights_finding
from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.cli.checks.nomad import nomad_findings
from horde_agents.cli.checks.placement import placement_findings
from horde_agents.placement.coordination import CoordinationAway, CoordinationDenied
from horde_agents.placement.records import HordeState, Keys, read_state
from horde_agents.runtime.settings import SettingsWrong


async def cluster_findings(settings: MinerSettings) -> AsyncIterator[Finding]:
    """Consul, placement and Nomad, as far as the settings name them; what is away hides only itself."""
    consul = [finding async for finding in consul_findings(settings)] if settings.consul_urls else []
    for finding in consul:
        yield finding
    state = HordeState()
    if not consul or any(finding.fine for finding in consul):
        findings, state = await _placement(settings)
        for finding in findings:
            yield finding
    if settings.pool == "nomad":
        async for finding in nomad_findings(settings, state):
            yield finding


async def _placement(settings: MinerSettings) -> tuple[list[Finding], HordeState]:
    """What the shared records say, and the records; empty ones where they cannot be read."""
    if not settings.consul_urls and settings.placement_file and not settings.placement_file.exists():
        said = f"there is no file {settings.placement_file}: no miner with this setting has run yet"
        return [wrong("placement", said)], HordeState()
    keys = Keys(settings.horde)
    try:
        async with shared_store(settings) as store:
            if store is None:
                return [], HordeState()
            state = read_state(keys, await store.snapshot(keys.prefix))
            findings = [fine("placement", f"{len(state.slots)} slots of horde {settings.horde} are read")]
            if settings.consul_urls:
                findings.append(await rights_finding(store, settings.horde))
    except (CoordinationAway, CoordinationDenied) as error:
        return [wrong("placement", str(error))], HordeState()
    except SettingsWrong as error:
        return [wrong("settings", str(error))], HordeState()
    findings += placement_findings(settings.horde, state, has_keeper=settings.pool == "nomad")
    return findings, state
