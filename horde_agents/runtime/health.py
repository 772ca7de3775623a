"""The operators' listener of an agent: /healthz, /readyz, /metrics, apart from its public port."""

import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from horde_agents.runtime.settings import SettingsWrong

#: Longer than proxies keep a connection to us that they mean to use again.
_IDLE_S: Final = 75.0

#: A named condition for readiness: ``None`` when fine, else a sentence that says what is wrong.
Check: TypeAlias = Callable[[], str | None]


def health_app(checks: Mapping[str, Check], registry: CollectorRegistry) -> web.Application:
    """The three paths as an application."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        wrong = {name: why for name, check in checks.items() if (why := check()) is not None}
        body = {"status": "not ready" if wrong else "ready", "checks": sorted(checks), "wrong": wrong}
        return web.json_response(body, status=503 if wrong else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None, idle_s: float = _IDLE_S
) -> AsyncIterator[int]:
    """Serve ``app`` on ``host:port`` (0 = any free one) and yield the port.

    Connections that say nothing for ``idle_s`` are ended. Bodies come as they were sent, still packed.

    Raises:
        SettingsWrong: the address is taken, not this machine's, or not for this user.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=2.0,
        keepalive_timeout=idle_s,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            why = f"Cannot listen on {host}:{port}: {reason}. Free it, or set another host or port."
            raise SettingsWrong(why) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
