"""Puts the API together and lets it listen, on an address of its own, apart from the operators' port."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from horde_agents.agents.validator.api.access import Access
from horde_agents.agents.validator.api.gate import Gate
from horde_agents.agents.validator.api.openapi import ENDPOINTS, PATH, document
from horde_agents.agents.validator.api.pace import Pace
from horde_agents.agents.validator.api.sources import Sources
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.runtime.health import listening

#: Names this validator on open answers, so that a client knows for whom to sign.
RECEIVER_HEADER: Final = "X-Horde-Hotkey"


@asynccontextmanager
async def serving_api(
    settings: ValidatorSettings, sources: Sources, pages: Sequence[web.RouteDef] = ()
) -> AsyncIterator[int | None]:
    """Serve the API while the block lasts and yield its port; ``None`` where the settings want none.

    ``pages`` are mounted beside it, for whoever can reach the port (see ``receipt_page_routes``).
    """
    if not settings.api_serves:
        yield None
        return
    app = api_app(settings, sources, pages)
    async with listening(app, settings.api_host, settings.api_port) as port:
        yield port


def api_app(
    settings: ValidatorSettings, sources: Sources, pages: Sequence[web.RouteDef] = ()
) -> web.Application:
    """The application of all endpoints."""
    access = Access(
        sources.hotkey,
        settings.api_readers,
        settings.api_trusts_loopback,
        lambda: sources.directory.stake_rao,
    )
    gate = Gate(sources, access, Pace(settings.api_requests_per_minute), settings.api_reading_s)
    described = document()

    async def openapi(_request: web.Request) -> web.Response:
        return web.json_response(described, headers={RECEIVER_HEADER: sources.hotkey})

    app = web.Application(middlewares=[gate.middleware], client_max_size=1)
    app.add_routes([web.get(endpoint.path, gate.reading(endpoint)) for endpoint in ENDPOINTS])
    app.add_routes([web.get(PATH, gate.unsigned(openapi))])
    app.add_routes([web.get(page.path, gate.unsigned(page.handler)) for page in pages])
    return app
