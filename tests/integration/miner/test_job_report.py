"""Is the miner getting jobs, with which outcomes: from its store, on its operators' port, in a terminal."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner, Result

from horde_agents.agents.miner.job_report import jobs_route
from horde_agents.agents.miner.parts import MinerMetrics
from horde_agents.cli.app import app
from horde_agents.cli.columns import WIDTH
from horde_agents.jobs.events import Accepted, ExecutorReady, Finished, HordeFailed, JobEvent, JobFailed
from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason
from horde_agents.jobs.states import Role
from horde_agents.runtime import clock
from horde_agents.runtime.health import health_app, listening
from horde_agents.store import attempts
from horde_agents.store.attempts import StoredAttempt
from horde_agents.store.engine import Store, open_store

SECRET = "the users output"
DONE = (
    Accepted(Role.MINER),
    ExecutorReady(Role.EXECUTOR),
    Finished(Role.EXECUTOR, stdout=SECRET),
)
FAILED = (
    Accepted(Role.MINER),
    JobFailed(Role.EXECUTOR, JobFaultReason.NONZERO_RETURN_CODE, stdout=SECRET, exit_status=1),
)
LOST = (
    Accepted(Role.MINER),
    HordeFailed(Role.MINER, HordeFaultReason.EXECUTOR_DISCONNECTED, "gone", {"cause": "agent_restarted"}),
)
OPEN = (Accepted(Role.MINER),)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of this test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/miner.sqlite3"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """The miner's database with jobs of two validators, one of them of last week."""
    async with open_store(store_url) as opened:
        for number, (validator, events, ago) in enumerate(
            [
                ("5One", DONE, timedelta(days=7)),
                ("5One", DONE, timedelta(hours=2)),
                ("5One", DONE, timedelta(hours=1)),
                ("5Two", FAILED, timedelta(minutes=30)),
                ("5Two", LOST, timedelta(minutes=20)),
                ("5Two", OPEN, timedelta(minutes=1)),
            ]
        ):
            await _add(opened, f"attempt-{number}", validator, events, ago)
        yield opened


async def _add(store: Store, uuid: str, validator: str, events: tuple[JobEvent, ...], ago: timedelta) -> None:
    at = clock.now() - ago
    row = StoredAttempt(uuid, uuid, "5Miner", validator, "always_on.test", "slot", at, at)

    async def write(connection: Any) -> None:
        await attempts.add(connection, row)
        for event in events:
            await attempts.record(connection, uuid, event, at + timedelta(seconds=5))

    await store.writer.run(write)


async def _jobs(store: Store, query: str = "", metrics: MinerMetrics | None = None) -> tuple[int, Any]:
    metrics = metrics or MinerMetrics()
    health = health_app({}, metrics.registry)
    health.add_routes([jobs_route(store, metrics)])
    async with (
        listening(health, "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/jobs{query}") as reply,
    ):
        return reply.status, await reply.json()


def _counted(told: dict[str, Any]) -> set[tuple[str, str, int]]:
    return {(row["validator_hotkey"], row["state"], row["attempts"]) for row in told["counts"]}


async def test_jobs_of_a_day_are_counted_by_validator_and_outcome(store: Store) -> None:
    status, told = await _jobs(store)
    assert (status, told["attempts"]) == (200, 5)
    assert _counted(told) == {
        ("5One", "completed", 2),
        ("5Two", "failed", 1),
        ("5Two", "horde_failed", 1),
        ("5Two", "accepted", 1),
    }


async def test_the_last_jobs_tell_why_they_ended_the_newest_first(store: Store) -> None:
    _, told = await _jobs(store, "?last=3")
    assert [(row["uuid"], row["state"], row["reason"]) for row in told["last"]] == [
        ("attempt-5", "accepted", ""),
        ("attempt-4", "horde_failed", "executor_disconnected, agent_restarted"),
        ("attempt-3", "failed", "nonzero_return_code"),
    ]


async def test_the_span_is_as_asked(store: Store) -> None:
    _, week = await _jobs(store, f"?since_s={8 * 86_400}")
    _, hour = await _jobs(store, "?since_s=1800")
    assert (week["attempts"], hour["attempts"]) == (6, 2)


async def test_users_output_is_not_shown(store: Store) -> None:
    _, told = await _jobs(store)
    assert SECRET not in json.dumps(told)


async def test_declines_since_the_start_are_counted_by_reason(store: Store) -> None:
    metrics = MinerMetrics()
    metrics.declines.labels(reason="busy").inc(3)
    _, told = await _jobs(store, metrics=metrics)
    assert told["declined_since_start"] == {"busy": 3}


@pytest.mark.parametrize(
    "query",
    ["?since_s=0", "?since_s=-1", "?since_s=1e9", "?since_s=" + "9" * 400, "?last=501", "?last=x", "?last="],
)
async def test_a_number_out_of_its_range_is_refused_by_name(store: Store, query: str) -> None:
    status, told = await _jobs(store, query)
    assert status == 400
    assert told["error"].startswith(query[1:].partition("=")[0])


async def _command(store_url: str, folder: Path, *words: str) -> Result:
    config = folder / "miner.toml"
    values = {"hotkey_file": folder / "miner.hotkey", "data_dir": folder, "database_url": store_url}
    config.write_text("".join(f'{name} = "{value}"\n' for name, value in values.items()))
    command = ["miner", "jobs", "--config", str(config), *words]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def test_the_terminal_shows_counts_and_last_jobs(store: Store, store_url: str, tmp_path: Path) -> None:
    result = await _command(store_url, tmp_path, "--since", "8d")
    assert result.exit_code == 0, result.output
    assert "6 jobs since" in result.stdout
    assert "3 completed" in result.stdout
    assert "executor_disconnected" in result.stdout
    assert SECRET not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= WIDTH


async def test_the_terminal_looks_a_day_back_by_itself(store: Store, store_url: str, tmp_path: Path) -> None:
    result = await _command(store_url, tmp_path, "--json", "--last", "1")
    told = json.loads(result.stdout)
    assert (told["attempts"], len(told["last"])) == (5, 1)


async def test_a_miner_without_jobs_is_told_where_to_look(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    result = await _command(store_url, tmp_path, "--since", "30s")
    assert result.exit_code == 0, result.output
    assert "No job was taken" in result.stdout
    assert "horde doctor" in result.stdout


@pytest.mark.parametrize("span", ["", "1", "0h", "-1h", "1w", "999999d"])
async def test_a_span_that_is_none_is_refused(
    store: Store, store_url: str, tmp_path: Path, span: str
) -> None:
    result = await _command(store_url, tmp_path, "--since", span)
    assert result.exit_code == 2
    assert "is no span" in result.output
