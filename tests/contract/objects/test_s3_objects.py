"""The object store's client against a real S3 server."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from horde_agents.agents.miner.certificate import ensure_certificate
from horde_agents.clients.objects import (
    ObjectMissing,
    ObjectsAway,
    ObjectsRefused,
    ObjectTooLarge,
    S3Objects,
)
from horde_agents.testing.object_server import ObjectServer
from tests.fixtures.objects import BUCKET, settings_of
from tools.setup.servers import VERSITYGW, program

PLENTY_BYTES = 1_000_000


@asynccontextmanager
async def client_of(
    server: ObjectServer, *, secret_key: str = "", call_s: float = 30.0
) -> AsyncIterator[S3Objects]:
    client = S3Objects(settings_of(server, secret_key=secret_key, call_s=call_s))
    try:
        yield client
    finally:
        await client.close()


async def plain(verb: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.request(verb, url, data=body) as reply:
        return reply.status, await reply.read()


async def test_an_object_comes_back_as_it_went(objects: S3Objects) -> None:
    body = bytes(range(256)) * 300
    await objects.put(BUCKET, "round/a b+c%é.bin", body)
    assert await objects.get(BUCKET, "round/a b+c%é.bin", len(body)) == body


async def test_a_listing_names_only_its_prefix_in_order_and_no_more_than_asked(objects: S3Objects) -> None:
    for name in ("list/b", "list/a b+c%é", "list/c", "other/a"):
        await objects.put(BUCKET, name, b"x")
    assert await objects.list(BUCKET, "list/", 10) == ["list/a b+c%é", "list/b", "list/c"]
    assert await objects.list(BUCKET, "list/", 2) == ["list/a b+c%é", "list/b"]


async def test_a_listing_goes_on_past_one_page(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("horde_agents.clients.objects._PAGE", 2)
    for number in range(5):
        await objects.put(BUCKET, f"pages/{number}", b"x")
    assert await objects.list(BUCKET, "pages/", 10) == [f"pages/{number}" for number in range(5)]


async def test_a_presigned_get_reads_without_credentials(objects: S3Objects) -> None:
    await objects.put(BUCKET, "signed/get", b"for you")
    assert await plain("GET", objects.presigned_get(BUCKET, "signed/get", 60)) == (200, b"for you")


async def test_a_presigned_put_writes_without_credentials(objects: S3Objects) -> None:
    status, _ = await plain("PUT", objects.presigned_put(BUCKET, "signed/put", 60), b"answers")
    assert status == 200
    assert await objects.get(BUCKET, "signed/put", PLENTY_BYTES) == b"answers"


async def test_a_presigned_get_does_not_write(objects: S3Objects) -> None:
    await objects.put(BUCKET, "signed/kept", b"kept")
    status, _ = await plain("PUT", objects.presigned_get(BUCKET, "signed/kept", 60), b"overwritten")
    assert status == 403
    assert await objects.get(BUCKET, "signed/kept", PLENTY_BYTES) == b"kept"


async def test_without_a_signature_an_object_is_private(
    objects: S3Objects, object_server: ObjectServer
) -> None:
    await objects.put(BUCKET, "private", b"secret")
    status, body = await plain("GET", f"{object_server.url}/{BUCKET}/private")
    assert status == 403
    assert b"secret" not in body


async def test_a_presigned_url_of_another_key_is_refused(objects: S3Objects) -> None:
    await objects.put(BUCKET, "tampered/mine", b"mine")
    await objects.put(BUCKET, "tampered/other", b"other")
    url = objects.presigned_get(BUCKET, "tampered/mine", 60).replace("tampered/mine", "tampered/other")
    assert (await plain("GET", url))[0] == 403


async def test_an_expired_presigned_url_is_refused(objects: S3Objects) -> None:
    await objects.put(BUCKET, "expires", b"soon")
    url = objects.presigned_get(BUCKET, "expires", 1)
    await asyncio.sleep(2.5)
    assert (await plain("GET", url))[0] == 403


async def test_a_wrong_secret_is_refused_and_the_settings_are_named(
    objects: S3Objects, object_server: ObjectServer
) -> None:
    async with client_of(object_server, secret_key="wrong") as stranger:
        with pytest.raises(ObjectsRefused, match=r"objects_\*"):
            await stranger.put(BUCKET, "never", b"x")
    assert await objects.list(BUCKET, "never", 1) == []


async def test_a_missing_object_is_missing_and_a_missing_bucket_refused(objects: S3Objects) -> None:
    with pytest.raises(ObjectMissing, match="no-such-key"):
        await objects.get(BUCKET, "no-such-key", PLENTY_BYTES)
    with pytest.raises(ObjectsRefused, match="no-such-bucket"):
        await objects.put("no-such-bucket", "key", b"x")


async def test_an_object_one_byte_too_long_is_too_large(objects: S3Objects) -> None:
    await objects.put(BUCKET, "large", b"12345")
    assert await objects.get(BUCKET, "large", 5) == b"12345"
    with pytest.raises(ObjectTooLarge, match="4 bytes"):
        await objects.get(BUCKET, "large", 4)


async def test_a_prefix_is_removed_and_its_neighbours_stay(objects: S3Objects) -> None:
    for name in ("gone/1", "gone/2", "gone-not/1"):
        await objects.put(BUCKET, name, b"x")
    assert await objects.remove_prefix(BUCKET, "gone/") == 2
    assert await objects.list(BUCKET, "gone", 10) == ["gone-not/1"]
    assert await objects.remove_prefix(BUCKET, "gone/") == 0


async def test_the_empty_prefix_removes_nothing(objects: S3Objects) -> None:
    await objects.put(BUCKET, "stays", b"x")
    with pytest.raises(ObjectsRefused):
        await objects.remove_prefix(BUCKET, "")
    assert await objects.get(BUCKET, "stays", 1) == b"x"


async def test_a_bucket_may_be_ensured_twice(objects: S3Objects) -> None:
    await objects.ensure_bucket("twice")
    await objects.ensure_bucket("twice")
    await objects.put("twice", "key", b"x")


async def test_a_server_that_is_down_is_away(own_object_server: ObjectServer) -> None:
    async with client_of(own_object_server) as client:
        await client.ensure_bucket(BUCKET)
        own_object_server.process.kill()
        with pytest.raises(ObjectsAway):
            await client.get(BUCKET, "key", PLENTY_BYTES)


async def test_a_frozen_server_is_away_after_the_calls_time(own_object_server: ObjectServer) -> None:
    own_object_server.process.send(signal.SIGSTOP)
    async with client_of(own_object_server, call_s=0.5) as client, asyncio.timeout(20):
        with pytest.raises(ObjectsAway, match="Timeout"):
            await client.put(BUCKET, "key", b"x")


async def test_secrets_are_in_no_repr_and_no_log(
    object_server: ObjectServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with client_of(object_server) as client:
        await client.ensure_bucket(BUCKET)
        with pytest.raises(ObjectMissing) as missing:
            await client.get(BUCKET, "nothing", PLENTY_BYTES)
        shown = f"{settings_of(object_server)!r} {client!r} {object_server!r} {missing.value}"
    secret = object_server.secret_key
    assert secret not in shown + caplog.text
    assert "X-Amz-Signature=" not in str(missing.value)


async def test_a_store_whose_authority_is_its_operator_s_own_is_trusted_by_its_file_alone(
    tmp_path: Path,
) -> None:
    certificate = ensure_certificate(tmp_path / "tls", "127.0.0.1")
    tls = (certificate, certificate.with_suffix(".key"))
    server = ObjectServer(program(VERSITYGW), tmp_path / "store", tls=tls)
    server.start()
    server.wait_ready()
    trusting = S3Objects(replace(settings_of(server), ca_file=certificate))
    strange = S3Objects(settings_of(server))
    try:
        await trusting.ensure_bucket(BUCKET)
        await trusting.put(BUCKET, "key", b"body")
        assert await trusting.get(BUCKET, "key", PLENTY_BYTES) == b"body"
        with pytest.raises(ObjectsAway, match="ClientConnectorCertificateError"):
            await strange.get(BUCKET, "key", PLENTY_BYTES)
    finally:
        await trusting.close()
        await strange.close()
        server.process.stop()


def test_an_authority_that_cannot_be_read_is_named(object_server: ObjectServer, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(ObjectsRefused, match=rf"authority {missing} cannot be read"):
        S3Objects(replace(settings_of(object_server), ca_file=missing))
