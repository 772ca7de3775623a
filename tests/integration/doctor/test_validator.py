"""``horde doctor --validator-config``: a validator's settings and its object store, a real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from typer.testing import CliRunner
from yarl import URL

from horde_agents.cli.app import app
from horde_agents.cli.embedded import write_config
from horde_agents.clients.objects import S3Objects
from horde_agents.testing.object_server import ObjectServer
from horde_agents.testing.wallets import hotkey_file
from tests.fixtures.web_server import WebServer, serving
from tests.integration.doctor.conftest import WAIVED

BUCKETS = {"prompts_bucket": "doctors-prompts", "answers_bucket": "doctors-answers"}
DENIED = "<Error><Code>AccessDenied</Code><Message>by policy</Message></Error>"


async def look(folder: Path, server: ObjectServer, **changes: Any) -> Mapping[str, str]:
    """What is said of each check that concerns the store; the wrong ones begin so."""
    path, _ = hotkey_file(folder, "validator")
    secret = folder / "s3.secret"
    secret.write_text(server.secret_key)
    settings = {
        "hotkey_file": str(path),
        "operator_port": 0,
        "database_url": f"sqlite:///{folder}/validator.sqlite3",
        "objects_url": server.url,
        "objects_access_key_id": server.access_key_id,
        "objects_secret_file": str(secret),
        **BUCKETS,
    }
    config = folder / "validator.toml"
    write_config(config, settings | changes)
    words = ["doctor", "--json", "--validator-config", str(config), *WAIVED]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == (0 if all(each["fine"] for each in found) else 1)
    assert server.secret_key not in result.stdout
    return {each["check"]: ("" if each["fine"] else "wrong: ") + each["says"] for each in found}


@asynccontextmanager
async def refusing(
    server: ObjectServer, is_refused: Callable[[web.Request], bool]
) -> AsyncIterator[WebServer]:
    """The server, through a door that refuses some requests as a policy would."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        if is_refused(request):
            return web.Response(status=403, text=DENIED, content_type="application/xml")
        url = URL(f"{server.url}{request.raw_path}", encoded=True)
        body = await request.read()
        async with http.request(request.method, url, data=body or None, headers=request.headers) as reply:
            return web.Response(status=reply.status, body=await reply.read())

    async with aiohttp.ClientSession() as http, serving(pass_on) as door:
        yield door


async def test_two_buckets_that_serve_are_fine_and_left_empty(
    tmp_path: Path, object_server: ObjectServer, objects: S3Objects
) -> None:
    found = await look(tmp_path, object_server)
    assert "Docker" not in found
    for bucket in BUCKETS.values():
        assert found[f"bucket {bucket}"].startswith("objects can be written, read, listed and deleted")
        assert await objects.list(bucket, "", 10) == []


async def test_a_validator_without_object_store_is_not_asked_for_one(
    tmp_path: Path, object_server: ObjectServer
) -> None:
    assert not [check for check in await look(tmp_path, object_server, objects_url="") if "bucket" in check]


@pytest.mark.parametrize(
    ("method", "is_list", "step"),
    [("PUT", False, "write"), ("GET", False, "read"), ("GET", True, "list"), ("DELETE", False, "delete")],
    ids=["write", "read", "list", "delete"],
)
async def test_a_right_that_the_key_lacks_is_named(
    tmp_path: Path, object_server: ObjectServer, method: str, is_list: bool, step: str
) -> None:
    await look(tmp_path, object_server)  # both buckets are there

    def is_refused(request: web.Request) -> bool:
        lists = "list-type" in request.query
        return request.method == method and lists == is_list and "doctors-answers" in request.path

    async with refusing(object_server, is_refused) as door:
        found = await look(tmp_path, object_server, objects_url=door.url)
    assert not found["bucket doctors-prompts"].startswith("wrong")
    said = found["bucket doctors-answers"]
    assert said.startswith(f"wrong: cannot {step}: ")
    assert "answers_bucket" in said


async def test_a_store_that_is_down_is_away(tmp_path: Path, own_object_server: ObjectServer) -> None:
    own_object_server.process.kill()
    said = (await look(tmp_path, own_object_server))["bucket doctors-prompts"]
    assert said.startswith("wrong: ")
    assert "objects_url" in said


async def test_a_wrong_secret_and_a_missing_one_are_told(tmp_path: Path, object_server: ObjectServer) -> None:
    wrong = tmp_path / "wrong.secret"
    found = await look(tmp_path, object_server, objects_secret_file=str(wrong))
    assert "cannot be read" in found["object store"]
    wrong.write_text("wrong")
    found = await look(tmp_path, object_server, objects_secret_file=str(wrong))
    assert "objects_* settings" in found["bucket doctors-prompts"]


async def test_settings_that_contradict_each_other_are_told(
    tmp_path: Path, object_server: ObjectServer
) -> None:
    found = await look(tmp_path, object_server, answers_bucket="doctors-prompts")
    assert "name two buckets" in found["settings"]
