"""The ground that other tests stand on is really there."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stock import StockPython


@pytest.mark.docker
def test_job_image_runs_by_digest_without_network(job_image: str) -> None:
    assert "@sha256:" in job_image
    command = ["docker", "run", "--rm", "--network", "none", "--cap-drop", "ALL", job_image]
    script = "echo hello | tee /dev/null | cat && which wget dd sleep; exit 7"
    ran = subprocess.run([*command, "sh", "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 7
    assert ran.stdout.splitlines() == ["hello", "/bin/wget", "/bin/dd", "/bin/sleep"]


@pytest.mark.docker
def test_tag_and_digest_name_the_same_image(job_image: str, tagged_image: str) -> None:
    subprocess.run(["docker", "pull", "-q", job_image], check=True, capture_output=True)
    command = ["docker", "image", "inspect", "--format", "{{.Id}}", job_image, tagged_image]
    first, second = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert first == second


@pytest.mark.postgres
async def test_each_test_has_an_empty_database_of_its_own(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    async with _connected(postgres_url) as connection:
        await connection.execute(text("CREATE TABLE mine (x int)"))
        tables = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert await connection.scalar(tables) == 1
        assert await connection.scalar(text("SHOW fsync")) == "on"
    with pytest.raises(DBAPIError, match="password authentication failed"):
        async with _connected(postgres_url.replace(postgres_server.password, "wrong")):
            pytest.fail("the server let a wrong password in")


_HOLD_A_SERVER = """
import time, pytest
def test_hold(postgres_server):
    print("HOLDING", flush=True)
    time.sleep(600)
"""


@pytest.mark.postgres
def test_killed_test_run_leaves_no_database_server(tmp_path: Path) -> None:
    (tmp_path / "test_hold.py").write_text(_HOLD_A_SERVER)
    words = ["-p", "tests.fixtures.postgres", "-p", "no:cacheprovider", "-s", "-q", "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *words, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        try:
            next(line for line in run.stdout if "HOLDING" in line)
            server = _child_named("postgres", run.pid)
            folder = _data_folder(server).parent
        finally:
            run.kill()
    _wait_for_end(server)
    shutil.rmtree(folder)


_STOCK_IMPORTS = {
    "sdk-0.0.18": "import compute_horde_sdk.v1",
    "sdk-0.0.19": "import compute_horde_sdk.v1",
    "miner-client-0.0.27": (
        "from django.conf import settings; settings.configure(INSTALLED_APPS=["
        "'django.contrib.auth', 'django.contrib.contenttypes', 'compute_horde.receipts']); "
        "import django; django.setup(); "
        "import compute_horde.miner_client.organic, compute_horde.receipts.transfer"
    ),
}


@pytest.mark.stock
@pytest.mark.parametrize("name", _STOCK_IMPORTS)
def test_stock_client_imports_in_an_environment_of_its_own(stock_python: StockPython, name: str) -> None:
    listing = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    command = [str(stock_python(name)), "-W", "ignore", "-c", f"{_STOCK_IMPORTS[name]}; {listing}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "horde-agents" not in json.loads(ran.stdout)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


def _child_named(name: str, parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    found = [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == name]
    assert len(found) == 1
    return found[0]


def _data_folder(server: int) -> Path:
    words = Path(f"/proc/{server}/cmdline").read_text().split("\0")
    return Path(words[words.index("-D") + 1])


def _wait_for_end(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    ended, _, _ = select.select([descriptor], [], [], 20)
    os.close(descriptor)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    assert ended, "PostgreSQL outlived the test run that started it"
