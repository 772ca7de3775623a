"""Servers that speak HTTP but are no honest S3 server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from horde_agents.clients.objects import (
    ObjectsAway,
    ObjectsFault,
    ObjectsRefused,
    ObjectsSettings,
    ObjectTooLarge,
    S3Objects,
)

#: Pieces of 60 kB: as good as endless, and an end for a client that reads all of it.
FAR_TOO_MANY = 1000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def client_of(handler: Handler, call_s: float = 30.0) -> AsyncIterator[S3Objects]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    async with TestServer(app) as server:
        settings = ObjectsSettings(
            str(server.make_url("")).rstrip("/"), "us-east-1", "id", "s", call_s=call_s
        )
        client = S3Objects(settings)
        try:
            async with asyncio.timeout(60):
                yield client
        finally:
            await client.close()


async def _without_end(request: web.Request, status: int) -> web.StreamResponse:
    reply = web.StreamResponse(status=status)
    await reply.prepare(request)
    try:
        for _ in range(FAR_TOO_MANY):
            await reply.write(b"<x>" * 20_000)
    except ConnectionError:
        pass
    return reply


async def endless(request: web.Request) -> web.StreamResponse:
    return await _without_end(request, 200)


async def endless_error(request: web.Request) -> web.StreamResponse:
    return await _without_end(request, 500)


async def dripping(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse()
    await reply.prepare(request)
    try:
        while True:
            await reply.write(b"x")
            await asyncio.sleep(0.05)
    except ConnectionError:
        return reply


async def short(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"Content-Length": "100"})
    await reply.prepare(request)
    await reply.write(b"only this")
    assert request.transport is not None
    request.transport.close()
    return reply


async def test_an_endless_object_is_too_large() -> None:
    async with client_of(endless) as client:
        with pytest.raises(ObjectTooLarge):
            await client.get("bucket", "key", 100_000)


async def test_an_endless_listing_is_bounded() -> None:
    async with client_of(endless) as client:
        with pytest.raises(ObjectTooLarge):
            await client.list("bucket", "prefix/", 10)


async def test_an_endless_error_is_bounded() -> None:
    async with client_of(endless_error) as client:
        with pytest.raises(ObjectsFault):
            await client.get("bucket", "key", 10)


async def test_an_object_that_drips_is_away_after_the_calls_time() -> None:
    async with client_of(dripping, call_s=0.5) as client:
        with pytest.raises(ObjectsAway, match="Timeout"):
            await client.get("bucket", "key", 100_000)


async def test_an_object_shorter_than_its_length_says_is_not_taken() -> None:
    async with client_of(short) as client:
        with pytest.raises(ObjectsAway):
            await client.get("bucket", "key", 1000)


async def test_a_declared_length_beyond_the_bound_is_refused_before_the_body() -> None:
    async def huge(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Length": str(10**15)})
        await reply.prepare(request)
        await asyncio.sleep(0.2)
        return reply

    async with client_of(huge) as client:
        with pytest.raises(ObjectTooLarge):
            await client.get("bucket", "key", 1000)


async def test_a_listing_that_repeats_itself_ends() -> None:
    page = "<ListBucketResult><Contents><Key>p/a</Key></Contents><IsTruncated>true</IsTruncated>"

    async def same(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=page + "</ListBucketResult>", content_type="application/xml")

    async with client_of(same) as client:
        assert await client.list("bucket", "p/", 1000) == ["p/a"]


async def test_a_listing_of_other_prefixes_is_not_believed() -> None:
    async def others(_request: web.Request) -> web.StreamResponse:
        text = "<ListBucketResult><Contents><Key>mine/a</Key></Contents></ListBucketResult>"
        return web.Response(text=text, content_type="application/xml")

    async with client_of(others) as client:
        assert await client.list("bucket", "p/", 1000) == []


async def test_a_listing_that_is_no_xml_is_away() -> None:
    async def nonsense(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="<<<")

    async with client_of(nonsense) as client:
        with pytest.raises(ObjectsAway, match="not what an S3 server says"):
            await client.list("bucket", "p/", 10)


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/")

    async with client_of(elsewhere) as client:
        with pytest.raises(ObjectsRefused, match="307"):
            await client.get("bucket", "key", 1000)


async def test_an_error_without_s3s_words_is_judged_by_its_status() -> None:
    async def proxy(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="Bad gateway")

    async with client_of(proxy) as client:
        with pytest.raises(ObjectsAway, match="502"):
            await client.get("bucket", "key", 1000)


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(ObjectsRefused, match="nowhere"):
        S3Objects(ObjectsSettings("nowhere", "us-east-1", "id", "s"))


async def test_a_404_that_names_no_missing_key_is_not_the_writers_fault() -> None:
    async def proxy(_request: web.Request) -> web.Response:
        return web.Response(status=404, text="<html>no such page</html>")

    async with client_of(proxy) as client:
        with pytest.raises(ObjectsAway, match="404"):
            await client.get("bucket", "key", 100)


async def test_an_error_without_end_is_the_stores_fault_and_not_the_objects() -> None:
    async with client_of(endless_error) as client:
        with pytest.raises(ObjectsAway, match="without end"):
            await client.get("bucket", "key", 100)
