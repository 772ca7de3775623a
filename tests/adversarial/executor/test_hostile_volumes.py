"""Volumes from strangers: archives that climb out or explode, servers that lie, stall or lead elsewhere."""

import asyncio
import base64
import hashlib
import stat
import zipfile

import pytest
from aiohttp import web

from horde_agents.jobs.budget import Limits
from horde_agents.jobs.faults import Cause, JobFaultReason, Stage
from horde_agents.jobs.spec import FileVolume, HuggingFaceVolume, InlineVolume, Volume, ZipVolume
from tests.fixtures.executor import MIB, Slot, cause, zipped
from tests.fixtures.web_server import answering, serving

pytestmark = pytest.mark.docker


async def refused(slot: Slot, volume: Volume) -> str:
    """The message with which ``volume`` is refused; the container must not have run."""
    end = await slot.failure(slot.spec("true", volumes=(volume,)))
    assert (end.reason, end.stage) == (JobFaultReason.DOWNLOAD_FAILED, Stage.VOLUME_DOWNLOAD)
    assert cause(end) == Cause.VOLUME_REFUSED
    return end.message


def inline(archive: bytes) -> InlineVolume:
    return InlineVolume(base64.b64encode(archive).decode())


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped", "a\\..\\escaped"])
async def test_a_zip_that_climbs_out_is_refused(slot: Slot, name: str) -> None:
    assert "climbs out" in await refused(slot, inline(zipped({name: b"x"})))
    assert not list(slot.settings.work_dir.rglob("escaped"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
async def test_a_zip_with_a_link_or_device_is_refused(slot: Slot, kind: int) -> None:
    def spoil(entry: zipfile.ZipInfo) -> None:
        entry.external_attr = (kind | 0o777) << 16

    assert "no plain file" in await refused(slot, inline(zipped({"x": b"/etc/passwd"}, spoil)))


async def test_a_zip_that_explodes_is_refused_while_it_unpacks(slot: Slot) -> None:
    small = slot.with_settings(space_bytes=8 * MIB)
    assert "more than the space" in await refused(small, inline(zipped({"zeros": bytes(32 * MIB)})))


async def test_a_zip_that_lies_about_its_sizes_is_refused(slot: Slot) -> None:
    archive = zipped({"zeros": bytes(MIB)}).replace(MIB.to_bytes(4, "little"), (1).to_bytes(4, "little"))
    assert "cannot be unpacked" in await refused(slot, inline(archive))


async def test_a_zip_with_too_many_entries_is_refused(slot: Slot) -> None:
    assert "20000 is the most" in await refused(slot, inline(zipped({str(n): b"" for n in range(20_001)})))


async def test_an_encrypted_zip_is_refused(slot: Slot) -> None:
    archive = bytearray(zipped({"x": b"x"}))
    archive[6] |= 1
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in await refused(slot, inline(bytes(archive)))


@pytest.mark.parametrize("archive", [b"", b"no zip", zipped({"x": b"x"})[:-8]])
async def test_what_is_no_zip_is_refused(slot: Slot, archive: bytes) -> None:
    assert "cannot be unpacked" in await refused(slot, inline(archive))


async def test_contents_that_are_no_base64_are_refused(slot: Slot) -> None:
    for contents in ("%%%", "é"):
        assert "not base64" in await refused(slot, InlineVolume(contents))


async def test_a_hugging_face_volume_is_refused_clearly(slot: Slot) -> None:
    assert "not supported" in await refused(slot, HuggingFaceVolume("org/model"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x",
        "http://localhost:9/x",
        "http://[::1]:9/x",
        "http://[::ffff:127.0.0.1]:9/x",
        "http://[64:ff9b::169.254.169.254]/x",
        "http://[2002:a00:1::]/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://100.100.100.200/x",
        "http://0.0.0.0:9/x",
        "http://2130706433:9/x",
        "http://0x7f.1:9/x",
    ],
)
async def test_private_addresses_are_refused(slot: Slot, url: str) -> None:
    public = slot.with_settings(allow_private_addresses=False)
    assert "not public" in await refused(public, FileVolume(url, "x"))


async def test_cloud_metadata_is_refused_even_where_private_addresses_are_allowed(slot: Slot) -> None:
    assert "not public" in await refused(slot, FileVolume("http://169.254.169.254/latest/", "x"))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "http:///x",
        "x",
        "http://a:99999999/",
        f"http://{'a' * 64}.org/x",
        "http://a..b/x",
        "http://xn--/",
    ],
)
async def test_only_http_addresses_are_fetched(slot: Slot, url: str) -> None:
    await refused(slot, FileVolume(url, "x"))


async def test_a_redirect_to_a_refused_address_is_not_followed(slot: Slot) -> None:
    async def away(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://169.254.169.254/latest/")

    async with serving(away) as server:
        message = await refused(slot, FileVolume(f"{server.url}/x", "x"))
    assert "169.254.169.254 is not public" in message


@pytest.mark.parametrize("location", ["http://[bad", "file:///etc/passwd"])
async def test_a_redirect_to_no_address_is_refused(slot: Slot, location: str) -> None:
    async def away(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location})

    async with serving(away) as server:
        await refused(slot, FileVolume(f"{server.url}/x", "x"))


async def test_redirects_without_end_are_refused_after_three(slot: Slot) -> None:
    async def on(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"/{int(request.path[1:]) + 1}")

    async with serving(on) as server:
        assert "more than 3 times" in await refused(slot, FileVolume(f"{server.url}/0", "x"))
        assert server.paths() == ["/0", "/1", "/2", "/3"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_download_over_the_space_is_cut(slot: Slot, announced: bool) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Length": str(64 * MIB)} if announced else {})
        await reply.prepare(request)
        for _ in range(64):
            await reply.write(bytes(MIB))
        return reply

    async with serving(flood) as server:
        small = slot.with_settings(space_bytes=4 * MIB)
        assert "over the 4194304 bytes" in await refused(small, FileVolume(f"{server.url}/x", "x"))
        assert len(server.asked) == 1


async def test_a_server_that_drips_ends_with_the_stages_time(slot: Slot) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        while True:
            await reply.write(b".")
            await asyncio.sleep(0.05)

    async with serving(drip) as server:
        volumes = (FileVolume(f"{server.url}/x", "x"),)
        end = await slot.failure(slot.spec("true", volumes=volumes, limits=Limits(1, 5, 5, leeway_s=0)))
    assert (end.reason, end.stage) == (JobFaultReason.TIMEOUT, Stage.VOLUME_DOWNLOAD)
    assert cause(end) == Cause.STAGE_TIMEOUT


async def test_a_broken_download_is_resumed_where_it_broke(slot: Slot) -> None:
    content = bytes(range(256)) * 4096

    async def broken(request: web.Request) -> web.StreamResponse:
        begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
        headers = {"Content-Length": str(len(content) - begin)}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        reply = web.StreamResponse(status=206 if begin else 200, headers=headers)
        await reply.prepare(request)
        end = len(content) if begin else 500_000
        await reply.write(content[begin:end])
        if not begin:
            assert request.transport is not None
            request.transport.close()
        return reply

    async with serving(broken) as server:
        volumes = (FileVolume(f"{server.url}/x", "x"),)
        end = await slot.success(slot.sh("sha256sum /volume/x; wc -c < /volume/x", volumes=volumes))
        assert len(server.asked) == 2
        assert server.asked[1].headers["Range"] != "bytes=0-"
    assert end.stdout.split() == [hashlib.sha256(content).hexdigest(), "/volume/x", str(len(content))]


async def test_a_server_that_only_says_416_counts_as_tries(slot: Slot) -> None:
    begun = False

    async def stuck(request: web.Request) -> web.StreamResponse:
        nonlocal begun
        if "Range" in request.headers:
            return web.Response(status=416)
        begun = True
        reply = web.StreamResponse(headers={"Content-Length": "100000"})
        await reply.prepare(request)
        await reply.write(bytes(1000))
        assert request.transport is not None
        request.transport.close()
        return reply

    async with serving(stuck) as server:
        end = await slot.failure(slot.spec("true", volumes=(FileVolume(f"{server.url}/x", "x"),)))
        assert len(server.asked) == 3
    assert (begun, cause(end)) == (True, Cause.VOLUME_UNREACHABLE)


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (503, 3)])
async def test_an_answer_that_may_pass_is_tried_three_times(slot: Slot, status: int, tries: int) -> None:
    async with serving(answering(status=status)) as server:
        end = await slot.failure(slot.spec("true", volumes=(ZipVolume(f"{server.url}/x?secret=1"),)))
        assert len(server.asked) == tries
    assert end.reason is JobFaultReason.DOWNLOAD_FAILED
    assert "secret" not in end.message


async def test_a_file_may_not_replace_what_a_zip_made_a_folder(slot: Slot) -> None:
    async with serving(answering()) as server:
        volumes = (inline(zipped({"x/y": b""})), FileVolume(f"{server.url}/x", "x"))
        end = await slot.failure(slot.spec("true", volumes=volumes))
    assert cause(end) == Cause.VOLUME_REFUSED
