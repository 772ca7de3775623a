"""What was acknowledged is on disk, even when the process is killed at once."""

import subprocess
import sys

from sqlalchemy import select

from horde_agents.store import tables
from horde_agents.store.engine import open_store

_WRITE_FOR_EVER = """
import asyncio, os, sys
from horde_agents.store import facts
from horde_agents.store.engine import open_store

async def write(store, caller):
    number = 0
    while True:
        name = f"{caller}-{number}"
        await store.writer.run(lambda connection: facts.put(connection, name, ""))
        os.write(1, f"{name}\\n".encode())
        number += 1

async def main(url):
    async with open_store(url) as store, asyncio.TaskGroup() as group:
        for caller in range(20):
            group.create_task(write(store, caller))

asyncio.run(main(sys.argv[1]))
"""


async def test_every_acknowledged_write_survives_sigkill(store_url: str) -> None:
    acknowledged = _written_until_killed(store_url)
    async with open_store(store_url) as store, store.reading() as connection:
        stored = set((await connection.execute(select(tables.facts.c.name))).scalars())
    assert acknowledged
    assert acknowledged <= stored


def _written_until_killed(store_url: str) -> set[str]:
    command = [sys.executable, "-c", _WRITE_FOR_EVER, store_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        names = [process.stdout.readline() for _ in range(300)]
        process.kill()
        whole, _, _ = process.stdout.read().rpartition(b"\n")
    return {name.decode() for name in b"".join(names).split() + whole.split()}
