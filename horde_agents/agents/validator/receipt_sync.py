"""Follows the receipt pages of all miners, and of validators that publish theirs.

Each peer is read by a task of its own, so that one that stalls delays nobody; those whose last visit went
wrong share few turns, and are visited ever less often.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NoReturn

import aiohttp
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.peer_pages import PageBook, Peer, cursor_name
from horde_agents.agents.validator.receipt_checker import Checked, Checker, CheckerLost, Question, checking
from horde_agents.clients.page_fetch import FetchFailed, Limits, News, fetch_news
from horde_agents.protocol.extensions import Extension
from horde_agents.receipts.pages import PAGE_S
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.store import page_cursors, progress, receipts

#: Lines of one question to the checker: 50 ms of signatures, then it is another peer's turn.
_LINES_AT_ONCE: Final = 256
#: Peers whose last visit went wrong that are visited at one time, and their longest pause.
_SUSPECT_TURNS: Final = 4
_LONGEST_PAUSE_S: Final = 300.0
#: How far back running jobs of others are looked for on start, and how many receipts of them.
_JOBS_BACK: Final = timedelta(hours=24)
_MOST_LOADED: Final = 200_000
_log = get_logger(__name__)


@dataclass(slots=True)
class ReceiptSync:
    """The loop; ``http`` neither unpacks answers nor keeps cookies."""

    parts: Parts
    http: aiohttp.ClientSession
    checker: Checker
    _turns: asyncio.Semaphore = field(init=False)
    _suspect_turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SUSPECT_TURNS))
    _readers: dict[Peer, "asyncio.Task[None]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.parts.settings.receipt_concurrency)

    async def load(self) -> None:
        """Take up what the stored receipts say of others' jobs."""
        since, own = now() - _JOBS_BACK, self.parts.signer.hotkey
        async with self.parts.store.reading() as connection:
            found = await receipts.of_others_since(connection, since, own, _MOST_LOADED)
        self.parts.others_jobs.note(found)

    async def serve(self) -> NoReturn:
        """Keep one reader a peer, as long as the peer is known."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._reconcile(group)
                    await asyncio.sleep(self.parts.settings.receipt_poll_s)
        finally:
            self._readers.clear()

    def _reconcile(self, group: asyncio.TaskGroup) -> None:
        wanted = set(peers(self.parts))
        for peer in self._readers.keys() - wanted:
            self._readers.pop(peer).cancel()
        for peer in sorted(wanted - self._readers.keys(), key=lambda peer: peer.hotkey):
            task = group.create_task(self._follow(peer), name=f"receipts of {peer.hotkey}")
            self._readers[peer] = task

    async def _follow(self, peer: Peer) -> None:
        """Visit one peer for ever, less often while that goes wrong."""
        books = [await self._book(peer, is_progress=is_progress) for is_progress in (False, True)]
        pause_s, went_wrong = self.parts.settings.receipt_poll_s, False
        while True:
            async with self._suspect_turns if went_wrong else self._turns:
                went_wrong = not await self._visit(peer, books)
            usual_s = self.parts.settings.receipt_poll_s
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S) if went_wrong else usual_s
            await asyncio.sleep(pause_s)

    async def _book(self, peer: Peer, *, is_progress: bool) -> PageBook:
        settings = self.parts.settings
        async with self.parts.store.reading() as connection:
            read = await page_cursors.of_peer(connection, cursor_name(peer, is_progress=is_progress))
        return PageBook.of(
            peer, read, settings.receipt_page_bytes, settings.receipt_catch_up_s, is_progress=is_progress
        )

    async def _visit(self, peer: Peer, books: Sequence[PageBook]) -> bool:
        """Read what is new; False when the peer does not do as the wire says."""
        try:
            for book in books:
                if book.is_progress and not self._has_progress(peer):
                    continue
                for page in book.due(now().timestamp()):
                    if not await self._read(peer, book, page):
                        return False
                book.forget(int(now().timestamp() - self.parts.settings.receipt_retention_s) // PAGE_S)
        except (FetchFailed, CheckerLost) as error:
            self.parts.metrics.page_fetches.labels(str(error)[:60]).inc()
            _log.debug("receipt pages not read", peer=peer.hotkey, why=str(error))
            return False
        except Exception:  # noqa: BLE001  (whatever one peer manages to break, the others are read)
            _log.exception("receipt pages not read", peer=peer.hotkey)
            return False
        if peer.is_validator:
            self.parts.others_jobs.page_read(peer.hotkey, now())
        return True

    def _has_progress(self, peer: Peer) -> bool:
        """Whether it publishes progress receipts: a stock peer is not asked for what it does not know."""
        return not peer.is_validator and Extension.PROGRESS in self.parts.announced.get(peer.hotkey, ())

    async def _read(self, peer: Peer, book: PageBook, page: int) -> bool:
        """One fetch of one page; False when most of it is not to be believed."""
        settings, cursor = self.parts.settings, book.cursors.get(page, 0)
        limits = Limits(min(settings.receipt_fetch_bytes, book.page_bytes - cursor), settings.receipt_fetch_s)
        news = await fetch_news(self.http, peer.url(page, is_progress=book.is_progress), cursor, limits)
        self.parts.metrics.page_fetches.labels("ok").inc()
        refused = await self._take(peer, book, page, news)
        book.read(page, news.cursor, is_all=news.is_all)
        return 2 * refused <= len(news.lines)

    async def _take(self, peer: Peer, book: PageBook, page: int, news: News) -> int:
        """Check and store what came; the cursor moves with the last of it. How many lines were refused."""
        refused = 0
        chunks = [news.lines[at : at + _LINES_AT_ONCE] for at in range(0, len(news.lines), _LINES_AT_ONCE)]
        known = frozenset(self.parts.directory.stake_rao)
        known |= {self.parts.signer.hotkey} if known else frozenset()
        found: list[Checked] = []
        for lines in chunks:
            question = Question(peer.hotkey, known, lines, book.is_progress, peer.is_validator)
            found.append(await self.checker.check(question, now()))
            refused += found[-1].refused.total()
        if news.cursor != book.cursors.get(page, 0):
            await self._store(book.name, page, news.cursor, found)
        self._count(found)
        return refused

    async def _store(self, name: str, page: int, cursor: int, found: Sequence[Checked]) -> None:
        at = now()

        async def unit(connection: AsyncConnection) -> None:
            for checked in found:
                if checked.receipts:
                    await receipts.import_all(connection, checked.receipts, at, checked.texts)
                if checked.progress:
                    await progress.import_all(connection, checked.progress, at, checked.texts)
            await page_cursors.move(connection, name, page, cursor, at)

        await self.parts.store.writer.run(unit)
        own = self.parts.signer.hotkey
        for checked in found:
            others = (each for each in checked.receipts if each.payload.validator_hotkey != own)
            self.parts.others_jobs.note(others)

    def _count(self, found: Sequence[Checked]) -> None:
        for checked in found:
            stored = len(checked.receipts) + len(checked.progress)
            self.parts.metrics.synced_receipts.labels("believed").inc(stored)
            for why, count in checked.refused.items():
                self.parts.metrics.synced_receipts.labels(why).inc(count)


def peers(parts: Parts) -> list[Peer]:
    """All whose pages are of interest: the miners, and the validators that the settings name."""
    named = parts.settings.receipt_validators
    validators = [Peer(entry.hotkey, entry.host, entry.port, is_validator=True) for entry in named]
    miners = [Peer(miner.hotkey, miner.host, miner.port) for miner in parts.directory.miners()]
    return miners + [peer for peer in validators if peer.hotkey != parts.signer.hotkey]


@asynccontextmanager
async def receipt_sync(parts: Parts) -> AsyncIterator[ReceiptSync]:
    """The loop's connections and its checking process, which end with the block."""
    connector = aiohttp.TCPConnector(limit=2 * parts.settings.receipt_concurrency, limit_per_host=0)
    session = aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    )
    async with checking() as checker, session as http:
        yield ReceiptSync(parts, http, checker)
