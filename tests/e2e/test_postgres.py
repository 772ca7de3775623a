"""A whole horde on PostgreSQL, as operators run it: a job, and an agent killed in the middle of one."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from horde_agents.cli.embedded import EmbeddedHorde, EmbeddedPlan, embedded_horde, restart_agent
from tests.e2e.users import as_user, ended, nothing_left, outcome, reached, request, state_of
from tests.fixtures.postgres import PostgresServer


@pytest.fixture
def on_postgres(tmp_path: Path, job_image: str, postgres_server: PostgresServer) -> Iterator[EmbeddedHorde]:
    """A horde whose agents have a database each."""
    assert job_image
    names = {agent: f"{agent}_{secrets.token_hex(4)}" for agent in ("facilitator", "validator", "miner")}
    for name in names.values():
        postgres_server.execute(f"CREATE DATABASE {name}")
    overrides = {agent: {"database_url": postgres_server.url(name)} for agent, name in names.items()}
    with embedded_horde(tmp_path, EmbeddedPlan(overrides=overrides)) as running:
        yield running


@pytest.mark.docker
@pytest.mark.postgres
async def test_a_horde_on_postgresql_runs_jobs_and_outlives_a_killed_agent(
    on_postgres: EmbeddedHorde, job_image: str
) -> None:
    first = await outcome(on_postgres, request(job_image, "echo", "stored in PostgreSQL"))
    assert first["stdout"] == "stored in PostgreSQL\n"
    async with as_user(on_postgres) as client, asyncio.timeout(90):
        sent = await client.submit(request(job_image, "sleep", "2"))
        await reached(client, sent["uuid"], "volumes_ready")
        on_postgres.processes["validator"].kill()
        on_postgres.processes["validator"].wait()
        await asyncio.to_thread(restart_agent, "validator", on_postgres)
        assert state_of(await ended(client, sent["uuid"])) == "completed"
    assert not list(on_postgres.folder.glob("*.sqlite3"))
    await nothing_left(on_postgres)
