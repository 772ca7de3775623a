"""The miner's public HTTP paths besides the validators' WebSocket (wire notes E)."""

import re
from typing import Final

from aiohttp import web

from horde_agents import __version__
from horde_agents.agents.miner.receipt_book import ReceiptBook
from horde_agents.agents.miner.shares import Shares
from horde_agents.receipts.pages import slice_for
from horde_agents.runtime import clock
from horde_agents.runtime.ranged import ranged

_PAGE: Final = re.compile(r"^\d{1,12}$")


def public_routes(book: ReceiptBook, shares: Shares) -> list[web.RouteDef]:
    """The routes."""

    async def version(_request: web.Request) -> web.Response:
        return web.json_response({"miner_version": f"horde-{__version__}", "runner_version": "horde"})

    async def reachable(_request: web.Request) -> web.Response:
        return web.Response(text="A Horde miner listens here.\n")

    async def receipts(request: web.Request) -> web.Response:
        name = request.match_info["page"]
        content = await book.page(int(name)) if _PAGE.match(name) else b""
        if not content:
            raise web.HTTPNotFound(text="no receipts on this page\n")
        return _sliced(content, request)

    async def shown_shares(_request: web.Request) -> web.Response:
        return web.json_response(shares.shown(clock.now()))

    async def progress(request: web.Request) -> web.Response:
        name = request.match_info["page"]
        content = await book.progress_page(int(name)) if _PAGE.match(name) else b""
        if not content:
            raise web.HTTPNotFound(text="no progress receipts on this page\n")
        return _sliced(content, request)

    return [
        web.get("/", reachable),
        web.get("/shares", shown_shares),
        web.get("/version", version),
        web.get("/admin/login/", reachable),
        web.get("/receipts/{page}.jsonl", receipts),
        web.get("/receipts/progress/{page}.jsonl", progress),
    ]


def _sliced(content: bytes, request: web.Request) -> web.Response:
    return ranged(content, slice_for(request.headers.get("Range"), len(content)), "application/jsonl")
