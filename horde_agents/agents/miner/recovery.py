"""Gets back from its validators what a miner that lost its database had of theirs.

A validator publishes what it signs. The miner checks that, countersigns it anew, and publishes it on its own
pages again, as if it had come late.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import aiohttp
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.clients.page_fetch import FetchFailed, Limits, News, fetch_news
from horde_agents.protocol.signing import Hotkey, Signer, from_hex, to_hex, verify
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.page_lines import LineRefused, Reader
from horde_agents.receipts.pages import page_of
from horde_agents.runtime import clock
from horde_agents.store import receipts
from horde_agents.store.engine import Store

_LIMITS: Final = Limits(fetch_bytes=4 * 1024 * 1024, fetch_s=30.0)
#: A page with more than this is not a validator's.
_PAGE_BYTES: Final = 256 * 1024 * 1024
#: Validators bound how often one address asks, by the minute.
_TOO_OFTEN: Final = "status 429"
_PATIENCE_S: Final = 10.0
_MOST_PAUSES: Final = 12


class NotRecovered(Exception):
    """A validator's pages could not be read to their end; what was read before is stored."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """A validator, and where its pages are: ``url`` without ``/receipts``."""

    hotkey: Hotkey
    url: str


@dataclass(slots=True)
class Recovered:
    """Receipts of this miner that were found; ``refused`` has lines that are not believed, by reason."""

    stored: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def pages_since(since: datetime, now: datetime) -> list[int]:
    """The pages to read, the newest first."""
    return list(range(page_of(now.timestamp()), page_of(since.timestamp()) - 1, -1))


async def recover(
    store: Store,
    signer: Signer,
    http: aiohttp.ClientSession,
    publisher: Publisher,
    pages: Iterable[int],
    done: Callable[[int], None] = lambda _page: None,
) -> Recovered:
    """Read ``pages`` and file what they have of this miner; ``done`` hears of each page.

    Raises:
        NotRecovered: unreachable, or no pages of a validator.
    """
    found = Recovered()
    reader = Reader(
        publisher.hotkey,
        frozenset(),
        lambda key, text, signature: verify(key, text, from_hex(signature)),
        is_validator=True,
    )
    for page in pages:
        await _page(store, signer, http, f"{publisher.url}/receipts/{page}.jsonl", reader, found)
        done(page)
    return found


async def _page(
    store: Store, signer: Signer, http: aiohttp.ClientSession, url: str, reader: Reader, found: Recovered
) -> None:
    cursor, is_all = 0, False
    while not is_all and cursor < _PAGE_BYTES:
        news = await _news(http, url, cursor)
        await _file(store, signer, reader, news, found)
        if news.cursor == cursor and not news.is_all:
            raise NotRecovered(f"{url} sends no whole line")
        cursor, is_all = news.cursor, news.is_all


async def _news(http: aiohttp.ClientSession, url: str, cursor: int) -> News:
    for _ in range(_MOST_PAUSES):
        try:
            return await fetch_news(http, url, cursor, _LIMITS)
        except FetchFailed as error:
            if str(error) != _TOO_OFTEN:
                raise NotRecovered(f"{url} cannot be read: {error}") from error
            await asyncio.sleep(_PATIENCE_S)
    raise NotRecovered(f"{url} is refused for two minutes: {_TOO_OFTEN}")


async def _file(store: Store, signer: Signer, reader: Reader, news: News, found: Recovered) -> None:
    ours = []
    for line in news.lines:
        try:
            receipt, text = reader.receipt(line, clock.now())
        except LineRefused as refused:
            found.refused[str(refused)] += 1
            continue
        if receipt.payload.miner_hotkey == signer.hotkey:
            countersigned = to_hex(signer.sign(text))
            ours.append(Receipt(receipt.payload, receipt.validator_signature, countersigned))
    at = clock.now()

    async def unit(connection: AsyncConnection) -> int:
        filed = [await receipts.file(connection, each, at, page_of(at.timestamp())) for each in ours]
        return sum(each.is_new for each in filed)

    if ours:
        stored = await store.writer.run(unit)
        found.stored += stored
        found.known += len(ours) - stored
