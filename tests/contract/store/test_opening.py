"""Opening brings any database to the newest schema, or says in a sentence why it cannot."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.cli.checks.database import database_finding
from horde_agents.runtime.clock import now
from horde_agents.scoring.result import MinerScore, Result
from horde_agents.store import cycle_scores, facts, weight_settings
from horde_agents.store.cycle_scores import CycleScore
from horde_agents.store.engine import StoreUnusable, open_store, schema_of
from horde_agents.store.tables import metadata
from horde_agents.store.weight_settings import WeightSetting

_OPEN_AND_PUT = """
import asyncio, sys
from horde_agents.store import facts
from horde_agents.store.engine import open_store
async def main(url, name):
    print("ready", flush=True)
    sys.stdin.readline()
    async with open_store(url) as store:
        await store.writer.run(lambda connection: facts.put(connection, name, "here"))
asyncio.run(main(*sys.argv[1:]))
"""


async def test_migrations_make_exactly_the_tables_of_the_code(store_url: str) -> None:
    async with open_store(store_url) as store, store.reading() as connection:
        assert await connection.run_sync(_differences) == []


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_what_was_stored_is_there_after_reopening(store_url: str) -> None:
    async with open_store(store_url) as store:
        await store.writer.run(lambda connection: facts.put(connection, "kept", "yes"))
    async with open_store(store_url) as store, store.reading() as connection:
        assert await facts.get(connection, "kept") == "yes"


async def test_weights_of_an_older_version_learn_from_their_score_who_earned_them(store_url: str) -> None:
    earned, gone = (
        MinerScore("5One", "", 3, (), 0, 0, 65_535, ""),
        MinerScore("5Two", "", None, (), 0, 0, 0, ""),
    )
    result = Result(5, 12, (3,), (65_535,), (earned, gone), "0", "")
    setting = WeightSetting(5, 12, result.uids, result.hotkeys, result.weights, now())
    async with open_store(store_url) as store:
        score = CycleScore(5, "{}", result.to_json(), now())
        await store.writer.run(lambda connection: cycle_scores.put(connection, score))
        await store.writer.run(lambda connection: weight_settings.add(connection, setting))
        await store.writer.run(_back_to_0002)
    async with open_store(store_url) as store, store.reading() as connection:
        assert [kept.hotkeys for kept in await weight_settings.unfinished(connection)] == [("5One",)]


async def _back_to_0002(connection: AsyncConnection) -> None:
    await connection.execute(text("ALTER TABLE weight_settings DROP COLUMN hotkeys_json"))
    await connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(store_url: str) -> None:
    async with open_store(store_url) as store:
        await store.writer.run(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreUnusable, match=r"schema 9999.*newer version"):
        async with open_store(store_url):
            pass


def test_processes_that_open_an_empty_database_together_take_turns(store_url: str) -> None:
    command = [sys.executable, "-c", _OPEN_AND_PUT, store_url]
    names = [f"process {number}" for number in range(3)]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen([*command, name], stdin=pipe, stdout=pipe, stderr=pipe))
            for name in names
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        failures = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], failures


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "store.sqlite3"
    async with open_store(f"sqlite:///{path}") as store:
        await store.writer.run(lambda connection: facts.put(connection, "a", "b"))
        files = [path, *path.parent.glob("store.sqlite3-*")]
        assert len(files) > 1
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("no address at all", "cannot be read; use sqlite:///path"),
        ("mysql://user@host/name", "'mysql'; use sqlite:///path or postgresql"),
        ("sqlite://", "names no file"),
        ("sqlite:////proc/none/store.sqlite3", "/proc/none/store.sqlite3 cannot be made"),
        ("postgresql://user:hunter2@127.0.0.1:1/name", "127.0.0.1:1/name cannot be opened"),
    ],
)
async def test_an_unusable_address_is_refused_in_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(StoreUnusable) as refused:
        async with open_store(url):
            pass
    assert sentence in str(refused.value)
    assert "hunter2" not in str(refused.value)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear operator, " * 100)
    with pytest.raises(StoreUnusable, match="not a database"):
        async with open_store(f"sqlite:///{path}"):
            pass
    assert path.read_text().startswith("Dear operator, ")


async def test_a_look_tells_the_schema_and_changes_nothing(store_url: str) -> None:
    before = await schema_of(store_url)
    assert before.found is None
    assert (await schema_of(store_url)).found is None
    assert "agent makes its tables" in (await database_finding(store_url)).says
    async with open_store(store_url):
        pass
    after = await schema_of(store_url)
    assert after.found == after.newest == before.newest
    found = await database_finding(store_url)
    assert (found.fine, found.note, found.says) == (True, False, f"answers, at schema {after.newest}")


async def test_a_look_at_what_is_no_database_says_so(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("no database" * 100)
    found = await database_finding(f"sqlite:///{file}")
    assert not found.fine
    assert "cannot be opened" in found.says
    away = await database_finding("postgresql://user:secret@127.0.0.1:9/none")
    assert not away.fine
    assert "secret" not in away.says
