"""The validator's own receipts, published on pages as miners publish theirs.

The miner's signature is left empty here: it comes later than the line, and bytes that were served stay.
"""

import re
from typing import Final

from aiohttp import web

from horde_agents.receipts.pages import page_line, slice_for
from horde_agents.receipts.payloads import payload_object
from horde_agents.runtime.ranged import ranged
from horde_agents.store import receipts
from horde_agents.store.engine import Store

_PAGE: Final = re.compile(r"^\d{1,12}$")
_LAST_PAGE: Final = 2**31 - 1


def receipt_page_routes(store: Store) -> list[web.RouteDef]:
    """``GET /receipts/{page}.jsonl``, to be mounted on a listener that other validators reach."""

    async def page(request: web.Request) -> web.Response:
        name = request.match_info["page"]
        number = int(name) if _PAGE.match(name) else _LAST_PAGE + 1
        content = await _content(store, number) if number <= _LAST_PAGE else b""
        if not content:
            raise web.HTTPNotFound(text="no receipts on this page\n")
        return ranged(content, slice_for(request.headers.get("Range"), len(content)), "application/jsonl")

    return [web.get("/receipts/{page}.jsonl", page)]


async def _content(store: Store, number: int) -> bytes:
    async with store.reading() as connection:
        found = await receipts.on_page(connection, number)
    lines = (page_line(payload_object(each.payload), each.validator_signature, "") for each in found)
    return "".join(lines).encode()
