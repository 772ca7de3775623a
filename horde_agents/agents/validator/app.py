"""Wires the validator: settings, key, store, links, loops, listener; the only file that knows all parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from horde_agents.agents.validator.api.listener import serving_api
from horde_agents.agents.validator.api.sources import Sources
from horde_agents.agents.validator.chain_watch import ChainWatch
from horde_agents.agents.validator.cheat_reports import CheatReports
from horde_agents.agents.validator.configuration import LiveConfiguration, source_of
from horde_agents.agents.validator.cross_validation import CrossValidation
from horde_agents.agents.validator.cycles import Cycles, build_cycles
from horde_agents.agents.validator.directory import Directory
from horde_agents.agents.validator.dispatch import Dispatch
from horde_agents.agents.validator.facilitator_link import FacilitatorLink
from horde_agents.agents.validator.finding import Finding
from horde_agents.agents.validator.incidents import remembered
from horde_agents.agents.validator.intake import Intake
from horde_agents.agents.validator.manifests import Manifests
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.polls import Polls
from horde_agents.agents.validator.prompts.trusted import TrustedRuns
from horde_agents.agents.validator.receipt_pages import receipt_page_routes
from horde_agents.agents.validator.receipt_retention import Retention
from horde_agents.agents.validator.receipt_sync import ReceiptSync, receipt_sync
from horde_agents.agents.validator.reruns import Reruns
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.agents.validator.shares import OwnShares
from horde_agents.agents.validator.status_outbox import StatusOutbox
from horde_agents.agents.validator.store_probe import StoreProbe
from horde_agents.agents.validator.waiting import WaitingRoom
from horde_agents.clients.chain import BittensorChain
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.runtime.clock import now
from horde_agents.runtime.health import Check, health_app, listening
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.supervisor import supervised, until_told_to_stop
from horde_agents.scoring.shares import configured_shares
from horde_agents.store.engine import open_store

#: Seconds that the last status updates get to be acknowledged when the agent stops.
_FLUSH_S: Final = 3.0

_log = get_logger(__name__)


@dataclass(slots=True)
class Validator:
    """The parts of a validator that are put together but not yet at work."""

    parts: Parts
    polls: Polls
    dispatch: Dispatch
    intake: Intake
    probe: StoreProbe
    compares: CrossValidation
    reports: CheatReports
    receipts: ReceiptSync
    watch: ChainWatch | None = None
    cycles: Cycles | None = None
    links: list[FacilitatorLink] = field(default_factory=list)
    operator_port: int = 0
    api_port: int | None = None


async def serve(settings: ValidatorSettings) -> None:
    """Run until told to stop, then let running jobs end for a while; the next start resumes the rest."""
    async with running_validator(settings) as validator:
        hotkey = validator.parts.signer.hotkey
        _log.info("validator is up", hotkey=hotkey, operator_port=validator.operator_port)
        await until_told_to_stop()
        _log.info("stopping", drain_s=settings.drain_s)


@asynccontextmanager
async def running_validator(settings: ValidatorSettings) -> AsyncIterator[Validator]:
    """A validator at work; leaving the block stops it in order."""
    async with assembled(settings) as validator:
        parts, supervisor = validator.parts, validator.dispatch.supervisor
        supervisor.keep("store probe", validator.probe.serve)
        supervisor.keep("manifests", validator.polls.serve)
        validator.links += [await _link(validator, url) for url in settings.facilitator_urls]
        await validator.dispatch.resume()
        await validator.compares.forget_open()
        supervisor.keep("cheat reports", validator.reports.serve)
        supervisor.keep("sweep", validator.dispatch.sweep)
        await validator.receipts.load()
        supervisor.keep("receipts of others", validator.receipts.serve)
        supervisor.keep("receipt retention", Retention(parts.store, settings.receipt_retention_s).serve)
        for link in validator.links:
            supervisor.keep(f"link to {link.url}", link.serve)
        if validator.cycles is not None:
            validator.cycles.keep(supervisor)
        app = health_app(_checks(validator), parts.metrics.registry)
        async with (
            listening(app, settings.operator_host, settings.operator_port) as validator.operator_port,
            serving_api(
                settings, _sources(validator), receipt_page_routes(parts.store)
            ) as validator.api_port,
        ):
            try:
                yield validator
            finally:
                await _wind_down(validator)


@asynccontextmanager
async def assembled(settings: ValidatorSettings) -> AsyncIterator[Validator]:
    """Store, key and parts, without links to facilitators; also what ``run_job.py`` works with."""
    signer = KeypairSigner.from_hotkey_file(settings.hotkey_file)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.database_url))
        # each attempt has a connection of its own, and a batch hundreds; its size is what bounds them
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        manifests = Manifests(store, settings.manifest_stale_s, settings.max_executors_per_class)
        await manifests.load()
        reliability = await remembered(store, settings.reliability_half_life_s)
        waiting = WaitingRoom(settings.most_waiting_jobs, settings.most_waiting_jobs_of_user)
        directory = Directory.of(settings)
        shares = OwnShares(settings.share_window_s, signer.hotkey, directory)
        await shares.load(store, now())
        parts = Parts(settings, store, signer, http, directory, manifests, reliability, waiting, shares)
        live = LiveConfiguration(source_of(settings), store, http, parts.metrics)
        await live.load()
        parts.knobs = lambda: live.now
        chain = await stack.enter_async_context(_chain(settings, signer))
        watch = await _watch(parts, chain) if chain else None
        sync = await stack.enter_async_context(receipt_sync(parts))
        supervisor = await stack.enter_async_context(supervised())
        if settings.configuration_source is not None:
            supervisor.keep("configuration", live.serve)
        polls = Polls(parts)
        dispatch = Dispatch(parts, supervisor, Finding(parts, polls))
        if watch is not None:
            supervisor.keep("chain", watch.serve)
            await watch.until_first_reading()
        intake = Intake(parts, dispatch)
        reruns = Reruns(parts, intake)
        parts.run_trusted = TrustedRuns(parts, intake).run if settings.trusted_miner else None
        compares = CrossValidation(parts, dispatch.finding, reruns, supervisor)
        dispatch.on_completed = compares.consider
        reports = CheatReports(parts, dispatch.finding, reruns, supervisor)
        cycles = await build_cycles(parts, polls, chain) if chain else None
        probe = StoreProbe(store)
        yield Validator(parts, polls, dispatch, intake, probe, compares, reports, sync, watch, cycles)


@asynccontextmanager
async def _chain(settings: ValidatorSettings, signer: KeypairSigner) -> AsyncIterator[BittensorChain | None]:
    if settings.chain_url is None:
        yield None
        return
    chain = BittensorChain(settings.chain_url, settings.netuid, signer)
    try:
        yield chain
    finally:
        await chain.close()


async def _watch(parts: Parts, chain: BittensorChain) -> ChainWatch:
    keeps_miners = bool(parts.settings.debug_miners)
    poll_s = parts.settings.chain_poll_s
    watch = ChainWatch(chain, parts.directory, parts.store, parts.signer.hotkey, poll_s, keeps_miners)
    await watch.load()
    return watch


async def _link(validator: Validator, url: str) -> FacilitatorLink:
    parts, supervisor = validator.parts, validator.dispatch.supervisor
    outbox = StatusOutbox(url, parts.store, parts.metrics.outbox_messages.labels(url))
    await outbox.load()
    parts.outboxes[url] = outbox
    return FacilitatorLink(parts, supervisor, validator.intake, validator.dispatch, validator.reports, outbox)


def _sources(validator: Validator) -> Sources:
    parts = validator.parts
    return Sources(
        parts.store,
        parts.signer.hotkey,
        parts.directory,
        parts.settings.manifest_stale_s,
        links=lambda: {link.url: link.why_not_ready() for link in validator.links},
        checks=_checks(validator),
        fair_shares=configured_shares,
        configuration=lambda: parts.knobs(),
        **(validator.cycles.sources() if validator.cycles else {}),
    )


def _checks(validator: Validator) -> dict[str, Check]:
    def miners() -> str | None:
        return None if validator.parts.directory.miners() else "no miner is known"

    def facilitators() -> str | None:
        """One that is linked is enough: users come by it while another is away."""
        troubles = [link.why_not_ready() for link in validator.links]
        return None if None in troubles else "; ".join(filter(None, troubles)) or None

    chain: dict[str, Check] = {"chain": validator.watch.why_not_ready} if validator.watch else {}
    if validator.cycles is not None:
        chain["cycles"] = validator.cycles.clock.why_not_ready
    always: dict[str, Check] = {"facilitators": facilitators, "miners": miners}
    return chain | always | {"store": validator.probe.why_not_ready}


async def _wind_down(validator: Validator) -> None:
    validator.dispatch.drain()
    await validator.dispatch.supervisor.settle(validator.parts.settings.drain_s)
    with suppress(TimeoutError):  # whatever has no answer yet is in the store
        async with asyncio.timeout(_FLUSH_S):
            for link in validator.links:
                if not link.trouble:
                    await link.outbox.until_empty()
    for link in validator.links:
        link.outbox.forget_answered()
