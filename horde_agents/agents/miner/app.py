"""Builds a miner and runs it: the only wiring file of the agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from aiohttp import web

from horde_agents.agents.miner.admission import Admission, OwnSlots
from horde_agents.agents.miner.attempts import Attempts
from horde_agents.agents.miner.certificate import ensure_certificate, fingerprint, server_context
from horde_agents.agents.miner.chain_watch import watch_chain
from horde_agents.agents.miner.executor_door import ExecutorDoor
from horde_agents.agents.miner.job_report import jobs_route
from horde_agents.agents.miner.offers import Offers
from horde_agents.agents.miner.parts import MinerParts
from horde_agents.agents.miner.placed.admission import SharedSlots
from horde_agents.agents.miner.placed.own_slots import OwnSlotRecords
from horde_agents.agents.miner.placed.shared import SharedPlacement
from horde_agents.agents.miner.placed.stores import consul_address, shared_store
from horde_agents.agents.miner.placed.view import PlacementView
from horde_agents.agents.miner.pool import (
    ExecutorPool,
    HolderAccess,
    HolderPlan,
    HordeLink,
    VouchedPool,
    load_pool,
)
from horde_agents.agents.miner.public import public_routes
from horde_agents.agents.miner.receipt_book import ReceiptBook
from horde_agents.agents.miner.refusals import Refusals, executors_route
from horde_agents.agents.miner.secret import horde_secret
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.miner.slots import Slots
from horde_agents.agents.miner.tokens import SlotToken, issue
from horde_agents.agents.miner.validator_door import PATH, ValidatorDoor
from horde_agents.agents.miner.validators import Validators
from horde_agents.placement.records import Keys
from horde_agents.protocol.miner_address import MinerAddress
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY, Hotkey, KeypairSigner
from horde_agents.runtime import clock
from horde_agents.runtime.health import Check, health_app, listening
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.supervisor import supervised, until_told_to_stop
from horde_agents.runtime.tls_memory import keep_one_record_per_connection
from horde_agents.store.engine import open_store

_TOKEN_LIFE: Final = timedelta(days=30)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningMiner:
    """A miner that serves; the ports it listens on."""

    hotkey: str
    port: int
    executor_port: int
    operator_port: int


@dataclass(frozen=True, slots=True)
class _PoolLink:
    """What the miner gives its pool."""

    settings: MinerSettings
    address: MinerAddress
    secret: bytes = field(repr=False)
    horde: HordeLink | None = None

    def plan(self, slot_id: str, executor_class: str) -> HolderPlan:
        expires_at = int((clock.now() + _TOKEN_LIFE).timestamp())
        token = issue(SlotToken(slot_id, executor_class, expires_at), self.secret)
        return HolderPlan(slot_id, executor_class, self.address, token)


async def serve(settings: MinerSettings) -> None:
    """Run until SIGTERM or SIGINT, then let running jobs finish within the drain time."""
    async with running_miner(settings) as miner:
        _log.info("miner serves", hotkey=miner.hotkey, port=miner.port)
        await until_told_to_stop()
        _log.info("miner stops")


@asynccontextmanager
async def running_miner(settings: MinerSettings) -> AsyncIterator[RunningMiner]:
    """A miner that serves while the block lasts."""
    signer = KeypairSigner.from_hotkey_file(settings.hotkey_file)
    pool = load_pool(settings)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.database_url))
        supervisor = await stack.enter_async_context(supervised())
        is_fixed = not settings.shares_slots
        slots = Slots(dict(pool.slots()) if is_fixed else {}, is_fixed=is_fixed)
        wire_hotkey = TRUSTED_MINER_HOTKEY if settings.trusted_by else signer.hotkey
        book = ReceiptBook(store, signer, wire_hotkey)
        parts = MinerParts(settings, signer, store, supervisor, book, slots)
        attempts, validators = Attempts(parts), Validators(parts)
        offers = Offers(parts, attempts)
        door = ValidatorDoor(parts, validators, attempts, offers, lambda: offers.draining)
        await validators.load()
        await parts.book.load()
        await parts.shares.load(store, clock.now())
        await attempts.resume(executors_may_return=pool.outlives_miner)
        supervisor.keep("overdue attempts", attempts.sweep)

        executor_port, refused = await _serve_executors(stack, parts, pool, attempts)
        public = web.Application()
        public.add_routes([web.get(PATH, door.connected), *public_routes(parts.book, parts.shares)])
        port = await stack.enter_async_context(listening(public, settings.host, settings.port))
        stack.push_async_callback(door.close_all)
        chain_check = watch_chain(parts, validators, port)
        checks = {"chain": chain_check, "executors": _executors_check(parts)}
        health = health_app(checks, parts.metrics.registry)
        health.add_routes([executors_route(slots, refused), jobs_route(store, parts.metrics)])
        operator_port = await stack.enter_async_context(
            listening(health, settings.operator_host, settings.operator_port)
        )
        running = RunningMiner(signer.hotkey, port, executor_port, operator_port)
        await _show_in_consul(stack, parts, running)
        try:
            yield running
        finally:
            offers.draining = True
            await _drain(attempts, settings.drain_s)


async def _show_in_consul(stack: AsyncExitStack, parts: MinerParts, running: RunningMiner) -> None:
    """Be a service of Consul's catalogue, where the settings say so."""
    settings, shared = parts.settings, parts.shared
    if settings.consul_service and settings.consul_urls and shared is not None:
        from horde_agents.agents.miner.placed.service import keep_shown  # heavy, and not every miner's
        from horde_agents.clients.consul_catalogue import ConsulCatalogue

        catalogue = ConsulCatalogue(consul_address(settings))
        stack.push_async_callback(catalogue.close)
        loops = await stack.enter_async_context(supervised())
        ports = (running.port, running.operator_port)
        loops.keep("catalogue", lambda: keep_shown(catalogue, settings, ports, shared.member))


async def _serve_executors(
    stack: AsyncExitStack, parts: MinerParts, pool: ExecutorPool, attempts: Attempts
) -> tuple[int, Refusals]:
    """Take executors in, alone or with the horde's other miners; the port of their listener, and whom not."""
    settings, hotkey = parts.settings, parts.signer.hotkey
    secret = await horde_secret(settings, parts.store)
    coordination = await stack.enter_async_context(shared_store(settings))
    view = PlacementView(coordination, Keys(settings.horde)) if coordination else None
    access = pool.access(attempts) if isinstance(pool, VouchedPool) else None
    admission = _admission(view, hotkey, access, OwnSlots(secret))
    door = ExecutorDoor(admission, hotkey, parts.slots, attempts, lambda: parts.facts.uid)
    port, address = await _take_executors_in(stack, settings, door)
    horde: HordeLink | None = None
    if view is not None:
        parts.shared = SharedPlacement.of(settings, view, hotkey, str(address), parts.facts)
        parts.metrics.placement.shared = parts.shared
        stack.push_async_callback(parts.shared.membership.leave)
        loops = await stack.enter_async_context(supervised())  # ends before what they use is closed
        own_slots = OwnSlotRecords(view, pool.slots()) if access is None else None
        parts.shared.start(loops, own_slots, attempts.is_open)
        horde = HordeLink(parts.shared, str(address), attempts, parts.slots)
    await stack.enter_async_context(pool.running(_PoolLink(settings, address, secret, horde)))
    return port, door.refused


def _admission(
    view: PlacementView | None, hotkey: Hotkey, access: HolderAccess | None, own: OwnSlots
) -> Admission:
    if view is None:
        return own
    if access is None:
        return SharedSlots(view, hotkey, own)
    return SharedSlots(view, hotkey, access.tokens, access.on_demand)


async def _take_executors_in(
    stack: AsyncExitStack, settings: MinerSettings, door: ExecutorDoor
) -> tuple[int, MinerAddress]:
    """Open the executors' listener; its port, and the address under which gpu nodes reach it."""
    keep_one_record_per_connection()
    certificate_file = ensure_certificate(settings.data_dir, settings.executor_host)
    tls = server_context(certificate_file)
    port = await stack.enter_async_context(
        listening(door.application(), settings.executor_host, settings.executor_port, tls)
    )
    host = settings.executor_advertise or settings.executor_host
    return port, MinerAddress(f"{host}:{port}", fingerprint(certificate_file))


async def _drain(attempts: Attempts, drain_s: float) -> None:
    try:
        async with asyncio.timeout(drain_s):
            await attempts.all_over()
    except TimeoutError:
        _log.warning("attempts still open after the drain time", drain_s=drain_s)


def _executors_check(parts: MinerParts) -> Check:
    def check() -> str | None:
        idle, busy = parts.slots.counts()
        parts.metrics.slots_idle.set(idle)
        parts.metrics.slots_busy.set(busy)
        if idle + busy:
            return None
        return f"none of {len(parts.slots.expected)} slots has a connected executor; see the log for why"

    return check
