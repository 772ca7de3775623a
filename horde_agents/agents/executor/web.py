"""HTTP for volumes and uploads: guarded addresses, few redirects, sizes counted while they stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from horde_agents.agents.executor.addresses import AddressRefused, GuardedResolver, check_literal

MAX_REDIRECTS: Final = 3
TRIES: Final = 3
_CHUNK_BYTES: Final = 256 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 30.0
_PAUSE_S: Final = 0.5


class FetchRefused(Exception):
    """A download must not be made or went over its bounds; trying again does not help."""


class FetchFailed(Exception):
    """A download did not come through after all tries."""


@asynccontextmanager
async def guarded_session(*, allow_private: bool) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose connections reach only what jobs may reach."""
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(allow_private=allow_private), use_dns_cache=False
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        yield session


class Fetcher:
    """Downloads one URL after another, within one budget of bytes."""

    def __init__(self, session: aiohttp.ClientSession, *, allow_private: bool) -> None:
        self._session = session
        self._allow_private = allow_private

    async def fetch(self, url: str, target: Path, limit_bytes: int) -> int:
        """Download ``url`` to ``target``, resuming after a break; returns the bytes written.

        Raises:
            FetchRefused: a refused address, too many redirects, over the limit, or a 4xx answer.
            FetchFailed: no try came through.
        """
        last: Exception | None = None
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        for number in range(TRIES):
            await asyncio.sleep(_PAUSE_S * number)
            try:
                return await self._try(url, target, limit_bytes)
            except AddressRefused as error:
                raise FetchRefused(str(error)) from error
            except aiohttp.ClientConnectorError as error:
                if isinstance(error.os_error, AddressRefused):
                    raise FetchRefused(str(error.os_error)) from error
                last = error
            except (aiohttp.ClientError, TimeoutError) as error:
                last = error
            except ValueError as error:  # a host's name that no resolver can be asked for
                raise FetchRefused(f"{_shown(url)} cannot be looked up: {error!s:.200}") from error
        raise FetchFailed(f"{_shown(url)} did not come through in {TRIES} tries: {last!r:.300}")

    async def _try(self, url: str, target: Path, limit_bytes: int) -> int:
        have = target.stat().st_size if target.exists() else 0
        async with self._opened(url, have) as reply:
            if have and reply.status == 416:
                target.unlink()
                raise aiohttp.ClientPayloadError("the server no longer knows the part asked for")
            if reply.status not in {200, 206}:
                _raise_for(reply.status, url)
            append = reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            return await _stream(reply, target, have if append else 0, limit_bytes, url)

    @asynccontextmanager
    async def _opened(self, url: str, have: int) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer behind at most ``MAX_REDIRECTS`` redirects, each checked like the first URL."""
        headers = {"Accept-Encoding": "identity"}  # a part of something packed cannot be resumed
        if have:
            headers["Range"] = f"bytes={have}-"
        here = parsed(url)
        for _ in range(MAX_REDIRECTS + 1):
            self._check(here)
            async with self._session.get(here, headers=headers, allow_redirects=False) as reply:
                if reply.status not in _REDIRECTS or "Location" not in reply.headers:
                    yield reply
                    return
                here = here.join(parsed(reply.headers["Location"]))
        raise FetchRefused(f"{_shown(url)} redirects more than {MAX_REDIRECTS} times")

    def _check(self, url: URL) -> None:
        check_url(url, allow_private=self._allow_private)


def parsed(text: str) -> URL:
    """``text`` as a URL.

    Raises:
        FetchRefused: it is none.
    """
    try:
        return URL(text)
    except ValueError as error:
        raise FetchRefused(f"an address cannot be read: {error}") from error


def check_url(url: URL, *, allow_private: bool) -> None:
    """Refuse what is no HTTP URL to an address that jobs may reach.

    Raises:
        FetchRefused: another scheme, no host, or a refused address.
    """
    if url.scheme not in {"http", "https"} or not url.host:
        raise FetchRefused(f"{_shown(str(url))} is no http or https URL")
    try:
        check_literal(url.host, allow_private=allow_private)
    except AddressRefused as error:
        raise FetchRefused(str(error)) from error


async def _stream(
    reply: aiohttp.ClientResponse, target: Path, written: int, limit_bytes: int, url: str
) -> int:
    if written + (reply.content_length or 0) > limit_bytes:
        raise FetchRefused(f"{_shown(url)} is over the {limit_bytes} bytes allowed")
    with target.open("ab" if written else "wb") as sink:
        async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
            written += len(chunk)
            if written > limit_bytes:
                raise FetchRefused(f"{_shown(url)} is over the {limit_bytes} bytes allowed")
            sink.write(chunk)
    return written


def _raise_for(status: int, url: str) -> None:
    text = f"{_shown(url)} answered {status}"
    if status in {408, 429} or status >= 500:
        raise aiohttp.ClientPayloadError(text)
    raise FetchRefused(text)


def _shown(url: str) -> str:
    """A URL for messages: without its query and credentials, which may be secrets."""
    try:
        parsed = URL(url)
        return str(parsed.with_query(None).with_fragment(None).with_user(None))[:200]
    except ValueError:
        return "the URL"
