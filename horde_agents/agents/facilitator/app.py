"""Builds a facilitator and runs it: the only wiring file of the agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from horde_agents.agents.facilitator.book import JobBook
from horde_agents.agents.facilitator.links import Links
from horde_agents.agents.facilitator.logins import Logins
from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.agents.facilitator.refusals import Patience, refusals
from horde_agents.agents.facilitator.routes import Routes
from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.agents.facilitator.stakes import Stakes
from horde_agents.agents.facilitator.submissions import Submissions
from horde_agents.agents.facilitator.validator_door import PATH, ValidatorDoor
from horde_agents.jobs.events import Expired
from horde_agents.jobs.states import Role
from horde_agents.runtime import clock
from horde_agents.runtime.health import health_app, listening
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.supervisor import supervised, until_told_to_stop
from horde_agents.store import jobs
from horde_agents.store.engine import open_store

_DEADLINES_EVERY_S: Final = 1.0
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningFacilitator:
    """A facilitator that serves; the ports it listens on."""

    port: int
    operator_port: int


async def serve(settings: FacilitatorSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    async with running_facilitator(settings) as facilitator:
        _log.info("facilitator serves", port=facilitator.port)
        await until_told_to_stop()
        _log.info("facilitator stops")


@asynccontextmanager
async def running_facilitator(settings: FacilitatorSettings) -> AsyncIterator[RunningFacilitator]:
    """A facilitator that serves while the block lasts."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.database_url))
        supervisor = await stack.enter_async_context(supervised())
        parts = FacilitatorParts(settings, store, supervisor)
        links, stakes, logins, book = (
            Links(settings.heartbeat_fresh_s),
            Stakes(parts),
            Logins(parts),
            JobBook(parts),
        )
        await stakes.load()
        await logins.load()
        submissions = Submissions(parts, links, stakes)
        door = ValidatorDoor(parts, links, stakes, book, submissions)
        routes = Routes(parts, logins, submissions, book, links)

        patience = Patience(settings.refusals_per_minute)
        app = web.Application(
            middlewares=[refusals(parts, patience, logins)], client_max_size=settings.max_body_bytes
        )
        app.add_routes([*routes.table(), web.get(PATH, door.connected)])
        public = listening(app, settings.host, settings.port, idle_s=settings.idle_s)
        port = await stack.enter_async_context(public)
        stack.push_async_callback(door.close_all)
        health = health_app({"chain": stakes.why_stale}, parts.metrics.registry)
        operator_port = await stack.enter_async_context(
            listening(health, settings.operator_host, settings.operator_port)
        )
        supervisor.keep("deadlines", lambda: _end_overdue(parts, book))
        if settings.chain_url is not None:
            supervisor.keep("chain", stakes.follow_chain)
        yield RunningFacilitator(port, operator_port)


async def _end_overdue(parts: FacilitatorParts, book: JobBook) -> None:
    """End every job whose deadline has passed; nobody else would."""
    while True:
        async with parts.store.reading() as connection:
            late = await jobs.overdue(connection, clock.now())
        for uuid in late:
            _log.warning("job ended by its deadline", job=uuid)
            await book.happened(uuid, Expired(Role.FACILITATOR))
        await asyncio.sleep(_DEADLINES_EVERY_S)
