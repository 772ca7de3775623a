"""A job's statuses as server-sent events: the history first, then each change, until it has ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from horde_agents.agents.facilitator.book import JobBook, entry_of
from horde_agents.jobs.states import JobState
from horde_agents.protocol.frames import write_json
from horde_agents.protocol.rest_api import StatusEntry
from horde_agents.runtime import clock
from horde_agents.store import jobs, stories
from horde_agents.store.jobs import StoredJob
from horde_agents.store.stories import Told

#: A comment after this silence keeps proxies from closing the stream, and finds dead readers.
_COMMENT_S: Final = 15.0


async def stream(request: web.Request, book: JobBook, job: StoredJob) -> web.StreamResponse:
    """Answer ``GET …/events``; resumes behind the header ``Last-Event-ID``."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    last = request.headers.get("Last-Event-ID", "")
    after = int(last) if last.isdecimal() and len(last) < 10 else -1
    with contextlib.suppress(ConnectionError):
        async for text in _lines(book, job, after):
            await response.write(text.encode())
        await response.write_eof()
    return response


async def _lines(book: JobBook, job: StoredJob, after: int) -> AsyncIterator[str]:
    with book.parts.watchers.following(job.uuid) as news:
        if after < 0:
            yield _line(0, StatusEntry(JobState.SENT, {}, clock.iso(job.created_at)))
            after = 0
        told = await _stored(book, job.uuid, after)
        if not told and await _has_ended(book, job.uuid):
            return
        while True:
            for item in told:
                after = item.sequence
                entry = entry_of(item)
                yield _line(item.sequence, entry)
                if entry.status.is_final:
                    return
            try:
                async with asyncio.timeout(_COMMENT_S):
                    told = await _next(book, job.uuid, after, news)
            except TimeoutError:
                yield ": still here\n\n"
                told = await _stored(book, job.uuid, after)


async def _next(book: JobBook, uuid: str, after: int, news: "asyncio.Queue[Told]") -> list[Told]:
    """What follows ``after``: as it is told, or from the store when something is missing between."""
    while True:
        item = await news.get()
        if item.sequence == after + 1:
            return [item]
        if item.sequence > after:
            return await _stored(book, uuid, after)


async def _stored(book: JobBook, uuid: str, after: int) -> list[Told]:
    async with book.parts.store.reading() as connection:
        return await stories.told(connection, uuid, after)


async def _has_ended(book: JobBook, uuid: str) -> bool:
    async with book.parts.store.reading() as connection:
        job = await jobs.load(connection, uuid)
    return job is None or job.state.is_final


def _line(sequence: int, entry: StatusEntry) -> str:
    return f"id: {sequence}\nevent: status\ndata: {write_json(entry.as_json())}\n\n"
