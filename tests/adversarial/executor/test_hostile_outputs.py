"""What a job leaves behind may be arranged to make the executor read or send something else."""

import zipfile
from io import BytesIO

import pytest
from aiohttp import web

from horde_agents.jobs.faults import Cause, JobFaultReason, Stage
from horde_agents.jobs.spec import FilePost, FilePut, ZipPut
from tests.fixtures.executor import MIB, Slot, cause
from tests.fixtures.web_server import answering, serving

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("arrange", "path"),
    [
        ("true", "missing"),
        ("ln -s /etc/passwd /output/x", "x"),
        ("ln -s /etc /output/d", "d/passwd"),
        ("ln -s .. /output/d", "d/output/stdout.txt"),
        ("mkfifo /output/x", "x"),
        ("mkdir /output/x", "x"),
        ("echo x > /output/x", "x/y"),
        ("echo x > /output/x", "../output/x"),
        ("echo x > /output/x", "/etc/passwd"),
        ("echo x > /output/x", "a/" * 150 + "x"),
    ],
)
async def test_only_plain_files_inside_the_output_are_sent(slot: Slot, arrange: str, path: str) -> None:
    async with serving(answering()) as server:
        good = FilePut(f"{server.url}/good", "stdout.txt")
        end = await slot.failure(slot.sh(arrange, uploads=(good, FilePut(f"{server.url}/x", path))))
        assert server.asked == [], "every file is opened before the first request"
    assert (end.reason, end.stage) == (JobFaultReason.UPLOAD_FAILED, Stage.RESULT_UPLOAD)
    assert cause(end) == Cause.OUTPUT_MISSING


async def test_links_and_pipes_are_left_out_of_artifacts_and_zip(slot: Slot) -> None:
    script = (
        "cd /output && ln -s /etc/passwd link && mkfifo pipe && ln -s / all && mkdir d && echo x > d/plain;"
        "cd /artifacts && ln -s /etc/passwd link && mkfifo pipe && echo x > plain"
    )
    async with serving(answering()) as server:
        spec = slot.sh(script, artifacts_dir="/artifacts", uploads=(ZipPut(f"{server.url}/zip"),))
        end = await slot.success(spec)
        names = zipfile.ZipFile(BytesIO(server.asked[0].body)).namelist()
    assert list(end.artifacts) == ["/artifacts/plain"]
    assert sorted(names) == ["d/plain", "stderr.txt", "stdout.txt"]


@pytest.mark.parametrize(
    "arrange",
    ["ln -s /etc/shadow /output/stdout.txt", "mkfifo /output/stdout.txt", "echo forged > /output/stdout.txt"],
)
async def test_the_log_replaces_what_the_job_put_in_its_place(slot: Slot, arrange: str) -> None:
    async with serving(answering()) as server:
        uploads = (FilePut(f"{server.url}/x", "stdout.txt"),)
        await slot.success(slot.sh(f"{arrange}; echo said", uploads=uploads))
        assert server.asked[0].body == b"said\n"


async def test_a_zip_of_too_many_files_is_refused(slot: Slot) -> None:
    script = "i=0; while [ $i -lt 1100 ]; do : > /output/$i; i=$((i+1)); done"
    async with serving(answering()) as server:
        end = await slot.failure(slot.sh(script, uploads=(ZipPut(f"{server.url}/x"),)))
        assert server.asked == []
    assert "more than 1000 files" in end.message


async def test_artifacts_that_would_not_fit_into_a_report_fail_the_job(slot: Slot) -> None:
    script = "cd /artifacts; for i in $(seq 30); do dd if=/dev/zero of=$i bs=999999 count=1; done"
    end = await slot.failure(slot.sh(script, artifacts_dir="/artifacts"))
    assert (end.stage, cause(end)) == (Stage.RESULT_UPLOAD, Cause.SPACE_EXCEEDED)


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (302, 1), (500, 3)])
async def test_a_receiver_that_refuses_fails_the_upload(slot: Slot, status: int, tries: int) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with serving(refuse) as server:
        end = await slot.failure(slot.spec("true", uploads=(FilePut(f"{server.url}/x", "stdout.txt"),)))
        assert server.paths() == ["/x"] * tries
    assert (end.reason, cause(end)) == (JobFaultReason.UPLOAD_FAILED, Cause.UPLOAD_REFUSED)


async def test_a_retry_sends_the_whole_file_again(slot: Slot) -> None:
    first = True

    async def once(_request: web.Request) -> web.StreamResponse:
        nonlocal first
        status, first = (503 if first else 200), False
        return web.Response(status=status)

    async with serving(once) as server:
        spec = slot.sh("echo content > /output/x", uploads=(FilePost(f"{server.url}/x", "x"),))
        await slot.success(spec)
        assert ["content\n" in each.body.decode() for each in server.asked] == [True, True]


async def test_an_answer_without_end_fails_the_upload(slot: Slot) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        for _ in range(32):
            await reply.write(bytes(MIB))
        return reply

    async with serving(flood) as server:
        end = await slot.failure(slot.spec("true", uploads=(FilePut(f"{server.url}/x", "stdout.txt"),)))
    assert "over 10 MiB" in end.message


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/x", "http://localhost:9/x", "http://169.254.169.254/x", "http://a:99999999/", "x"],
)
async def test_uploads_reach_no_private_address(slot: Slot, url: str) -> None:
    public = slot.with_settings(allow_private_addresses=False)
    end = await public.failure(public.spec("true", uploads=(FilePut(url, "stdout.txt"),)))
    assert cause(end) == Cause.UPLOAD_REFUSED


async def test_headers_that_http_cannot_carry_are_the_users_fault(slot: Slot) -> None:
    async with serving(answering()) as server:
        uploads = (FilePut(f"{server.url}/x", "stdout.txt", {"X-Bad": "a\r\nHost: b"}),)
        end = await slot.failure(slot.spec("true", uploads=uploads))
        assert server.asked == []
    assert cause(end) == Cause.UPLOAD_REFUSED


async def test_a_forged_length_does_not_reach_the_receiver(slot: Slot) -> None:
    async with serving(answering()) as server:
        uploads = (FilePut(f"{server.url}/x", "x", {"content-length": "1", "X-Kept": "yes"}),)
        await slot.success(slot.sh("echo content > /output/x", uploads=uploads))
        assert (server.asked[0].body, server.asked[0].headers["X-Kept"]) == (b"content\n", "yes")
        assert server.asked[0].headers.getall("Content-Length") == ["8"]
