"""A Docker daemon that hangs or answers oddly: the node is at fault by name, and nothing waits for ever."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from horde_agents.agents.miner.certificate import ensure_certificate, server_context
from horde_agents.clients.docker import DockerEngine
from horde_agents.clients.docker_faults import EngineAway, EngineRefused

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Call = Callable[[DockerEngine], Awaitable[object]]
_CALLS: dict[str, Call] = {
    "start": lambda engine: engine.start("c"),
    "ended": lambda engine: engine.ended("c"),
    "kill": lambda engine: engine.kill("c"),
    "remove": lambda engine: engine.remove("c"),
    "written_bytes": lambda engine: engine.written_bytes("c"),
    "processes": lambda engine: engine.processes("c"),
    "labelled": lambda engine: engine.labelled({"a": "b"}),
}
_CALL_S = 1.0


async def _hangs(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(10)
    return web.Response()


async def _says_nothing(_request: web.Request) -> web.StreamResponse:
    return web.json_response(body=b"")


async def _says_something_else(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"<html>", content_type="text/html")


async def _fails_without_a_word(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"{}", status=500, headers={"Content-Type": "application/json"})


async def _knows_no_container(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"message": "No such container: c"}, status=404)


@pytest.fixture
async def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Answer]]:
    """Put in how the daemon answers."""
    given: list[Answer] = []
    app = web.Application()

    async def answered(request: web.Request) -> web.StreamResponse:
        return await given[0](request)

    app.router.add_route("*", "/{any:.*}", answered)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "docker.sock").start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    yield given
    await runner.cleanup()


async def _ask(call: Call) -> object:
    engine = DockerEngine(_CALL_S)
    try:
        return await asyncio.wait_for(call(engine), 5)
    finally:
        await engine.close()


@pytest.mark.parametrize(
    "name", [name for name in _CALLS if name != "ended"]
)  # which waits as long as its container runs
async def test_a_daemon_that_hangs_is_away(answers: list[Answer], name: str) -> None:
    answers.append(_hangs)
    with pytest.raises(EngineAway, match="does not answer"):
        await _ask(_CALLS[name])


@pytest.mark.parametrize("answer", [_says_nothing, _says_something_else, _fails_without_a_word])
@pytest.mark.parametrize("name", ["ended", "written_bytes", "labelled"])
async def test_answers_without_sense_are_the_nodes_fault(
    answers: list[Answer], answer: Answer, name: str
) -> None:
    answers.append(answer)
    with pytest.raises(EngineAway):
        await _ask(_CALLS[name])


@pytest.mark.parametrize("name", ["start", "ended", "written_bytes"])
async def test_a_container_that_has_gone_is_no_missing_image(answers: list[Answer], name: str) -> None:
    answers.append(_knows_no_container)
    with pytest.raises(EngineRefused, match="No such container"):
        await _ask(_CALLS[name])


@pytest.mark.parametrize("host", ["ssh://root@10.0.0.1", "localhost", "fd://", "npipe:////./pipe/docker"])
async def test_an_environment_that_names_no_daemon_is_told(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    for call in _CALLS.values():
        with pytest.raises(EngineAway, match="DOCKER_"):
            await _ask(call)


@pytest.mark.parametrize("verify", ["1", "yes"])
async def test_tls_is_spoken_where_dockers_own_programs_speak_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: str
) -> None:
    certificate = ensure_certificate(tmp_path, "127.0.0.1")
    (tmp_path / "ca.pem").write_bytes(certificate.read_bytes())
    (tmp_path / "cert.pem").write_bytes(certificate.read_bytes())
    (tmp_path / "key.pem").write_bytes(certificate.with_suffix(".key").read_bytes())
    app = web.Application()
    app.router.add_get("/v1.41/containers/json", _has_one_container)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(certificate)).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{runner.addresses[0][1]}/")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", verify)
    try:
        assert await _ask(_CALLS["labelled"]) == ["c"]
    finally:
        await runner.cleanup()


async def test_a_disk_that_fills_up_during_a_pull_is_the_nodes_fault(answers: list[Answer]) -> None:
    answers.append(_fills_up)
    with pytest.raises(EngineRefused, match="no space left"):
        await _ask(lambda engine: engine.image(f"127.0.0.1:1/large@sha256:{'0' * 64}"))


async def _fills_up(request: web.Request) -> web.StreamResponse:
    if request.method == "GET":
        return web.json_response({"message": "No such image"}, status=404)
    failure = "write /var/lib/docker/tmp/1: no space left on device"
    steps = ({"status": "Extracting"}, {"errorDetail": {"message": failure}, "error": failure})
    answer = web.json_response(text="".join(f"{json.dumps(step)}\r\n" for step in steps))
    answer.enable_chunked_encoding()
    return answer


async def _has_one_container(_request: web.Request) -> web.StreamResponse:
    return web.json_response([{"Id": "c"}])
