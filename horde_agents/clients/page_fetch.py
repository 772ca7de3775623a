"""Fetches what is new of one receipt page (wire note E.2), from peers that may be hostile.

Memory, bytes and time of a fetch are bounded whatever the peer sends; only whole lines count, so that a
cursor never stands in the middle of one that is still being written.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

import aiohttp

#: Bytes of one receipt's line: ten thousand block numbers and both signatures fit.
LINE_BYTES: Final = 160 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_CONTENT_RANGE: Final = re.compile(r"^bytes (\d{1,18})-(\d{1,18})/(\d{1,18})$")


class FetchFailed(Exception):
    """A page could not be read, or was not served as the wire says; the text is short."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of one fetch, and seconds that it may take."""

    fetch_bytes: int
    fetch_s: float


@dataclass(frozen=True, slots=True)
class News:
    """Whole lines behind a cursor, and where it stands after them; ``is_all`` when nothing more is there now.

    ``exists`` is false where the peer has no such page.
    """

    lines: tuple[bytes, ...]
    cursor: int
    is_all: bool
    exists: bool = True


async def fetch_news(http: aiohttp.ClientSession, url: str, cursor: int, limits: Limits) -> News:
    """Everything new up to the limits.

    A slow peer's whole lines count as far as they came in time.

    Raises:
        FetchFailed: unreachable, or an answer that no reader of the wire would take.
    """
    headers = {"Accept-Encoding": "identity"}
    if cursor:
        headers["Range"] = f"bytes={cursor}-"
    body = bytearray()
    try:
        async with asyncio.timeout(limits.fetch_s):
            async with http.get(url, headers=headers, allow_redirects=False) as reply:
                if reply.status in {404, 416}:
                    return News((), cursor, is_all=True, exists=reply.status == 416)
                total = _total(reply, cursor)
                is_all = await _read(reply, body, limits.fetch_bytes)
    except TimeoutError as error:
        if not body:
            raise FetchFailed("too slow") from error
        return _whole_lines(body, cursor, is_all=False)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchFailed(type(error).__name__) from error
    if total is not None and is_all and cursor + len(body) != total:
        raise FetchFailed("wrong Content-Range")
    return _whole_lines(body, cursor, is_all=is_all)


def _total(reply: aiohttp.ClientResponse, cursor: int) -> int | None:
    """The page's length by the answer's own word; a first answer need not have one."""
    if reply.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchFailed("packed answer that was not asked for")
    if reply.status == 200 and cursor == 0:
        return None
    if reply.status == 200:
        raise FetchFailed("200 to a Range")
    if reply.status != 206:
        raise FetchFailed(f"status {reply.status}")
    match = _CONTENT_RANGE.match(reply.headers.get("Content-Range", ""))
    if match is None:
        raise FetchFailed("wrong Content-Range")
    first, last, total = (int(number) for number in match.groups())
    if first != cursor or last + 1 != total or total <= cursor:
        raise FetchFailed("wrong Content-Range")
    return total


async def _read(reply: aiohttp.ClientResponse, body: bytearray, most_bytes: int) -> bool:
    """Take in up to ``most_bytes``; whether that was all."""
    async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
        body += chunk[: most_bytes - len(body)]
        if len(body) >= most_bytes:
            return False
    return True


def _whole_lines(body: bytearray, cursor: int, *, is_all: bool) -> News:
    end = body.rfind(b"\n") + 1
    if len(body) - end > LINE_BYTES:  # no receipt is so long: what it is will not become one
        end = len(body)
    lines = tuple(bytes(line) for line in body[:end].split(b"\n") if line)
    return News(lines, cursor + end, is_all=is_all)
