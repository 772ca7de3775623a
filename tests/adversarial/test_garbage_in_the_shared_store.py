"""Whatever a hand writes into the shared store: it is named, and the horde goes on."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from horde_agents.placement.coordination import Put
from horde_agents.placement.records import PoolWish, UidWish, as_json
from tests.fixtures.waiting import eventually
from tests.integration.placement.conftest import (
    CYCLE_BLOCKS,
    Shared,
    log,
    seat,
    seats,
    sharing_in_file,
    slots,
)

__all__ = ["log"]

VALUES = [
    "",
    "not JSON",
    "null",
    "[]",
    "NaN",
    "-1e999",
    "9" * 4300,
    "[" * 100_000,
    json.dumps("x" * 512 * 1024),
    '{"slot_id":"\\ud800"}',
    json.dumps({"slot_id": None, "hotkey": 5, "holders": [], "cycle": "x", "drained": 2, "wanted": -1}),
]
ROOMS = ["slots", "members", "roles", "uids", "pool", "reports", "nonsense"]
NAMES = ["", "a/b", "..", "a b", "é", "\t", "x" * 300]


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Shared]:
    async with sharing_in_file(tmp_path / "placement.sqlite3") as found:
        yield found


def crashes(lines: list[Any]) -> list[Any]:
    return [line for line in lines if "crashed" in line["event"]]


async def test_garbage_in_every_key_is_named_and_slots_still_dance(shared: Shared, log: list[Any]) -> None:
    puts = [
        Put(f"{shared.keys.prefix}{room}/{name}{number}", value, None)
        for number, value in enumerate(VALUES)
        for room in ROOMS
        for name in NAMES
    ]
    puts += [Put(f"{shared.keys.history}{number}", value, None) for number, value in enumerate(VALUES)]
    async with seats(shared, "A", "B"):
        await shared.add(slots(8, "A"))
        for start in range(0, len(puts), 50):
            assert await shared.store.commit(puts[start : start + 50])
        for value in VALUES:
            await shared.put(shared.keys.main_hotkey, value)
            await shared.put(shared.keys.last_dance, value)
            await shared.put(shared.keys.dance, value)
            await eventually(lambda: danced(shared))
        named = {line["key"] for line in log if line["event"].startswith("placement key cannot be read")}
        unread = {garbage.key for garbage in (await shared.state()).garbage}
        assert {put.key for put in puts if "/slots/" in put.key or "/nonsense/" in put.key} <= named & unread
        assert set((await shared.owners()).values()) == {"A", "B"}
    assert crashes(log) == []


async def danced(shared: Shared) -> bool:
    return not (await shared.state()).dance_wanted


async def test_numbers_beyond_all_reason_crash_no_loop(shared: Shared, log: list[Any]) -> None:
    async with seats(shared, "A", "B"):
        await shared.add(slots(8, "A"))
        for number, (name, digits) in enumerate(
            [("epoch", "9" * 4300), ("moved_cycle", "1" + "0" * 4000), ("uid", "-1"), ("epoch", "-7")]
        ):
            key = shared.keys.slot(f"node:cpu-{number}")
            text = (await shared.store.snapshot(key)).entries[key].value
            record = json.loads(text)
            await shared.put(key, text.replace(f'"{name}":{json.dumps(record[name])}', f'"{name}":{digits}'))
        await shared.dance()
        assert len((await shared.state()).garbage) == 4
    assert crashes(log) == []


async def test_last_dance_in_the_future_is_named(shared: Shared, log: list[Any]) -> None:
    await shared.put(shared.keys.last_dance, "1000")
    async with seat(shared, "A", 1) as one:
        one.facts.block_number = 5 * CYCLE_BLOCKS
        words = "no dance until the cycle of the last one; delete its key"

        async def named() -> bool:
            return [(line["last"], line["now"]) for line in log if line["event"] == words] == [(1000, 5)]

        await eventually(named)


async def test_miner_that_no_session_shows_gets_no_slot(shared: Shared) -> None:
    async with seats(shared, "A", "B") as (a, _):
        ghost = as_json(a.shared.member()).replace('"A"', '"ghost"')
        await shared.put(shared.keys.member("ghost"), ghost)
        await shared.add(slots(12))
        await eventually(lambda: all_owned(shared))
        await shared.dance()
        assert set((await shared.owners()).values()) == {"A", "B"}


async def all_owned(shared: Shared) -> bool:
    return all((await shared.owners()).values())


async def test_role_that_a_stranger_s_session_has_is_named(shared: Shared, log: list[Any]) -> None:
    session = await shared.store.open_session("somebody", 60, ephemeral=True)
    assert await shared.store.acquire(shared.keys.role("choreographer"), "x" * 10_000, session)
    async with seat(shared, "A", 1):

        async def named() -> bool:
            return any(line["event"] == "a session of no miner has a role" for line in log)

        await eventually(named)
        await shared.store.close_session(session)
        assert await shared.any_choreographer() == "A"


async def test_bytes_that_are_no_text_spoil_only_their_key(shared: Shared, tmp_path: Path) -> None:
    async with seats(shared, "A", "B"):
        await shared.add(slots(4, "A"))
        await shared.drain("B", drained=False)
        with sqlite3.connect(tmp_path / "placement.sqlite3") as file:
            for key in (shared.keys.slot("node:cpu-0"), shared.keys.uid("B")):
                file.execute("UPDATE entries SET value = CAST(x'fffe7b' AS TEXT) WHERE key = ?", (key,))
            file.execute(
                "UPDATE entries SET value = x'00ff' WHERE key = ?", (shared.keys.slot("node:cpu-1"),)
            )
        state = await shared.state()
        assert len(state.garbage) == 3
        await shared.dance()
        assert set((await shared.owners()).values()) == {"A", "B"}


async def test_wishes_of_nobody_change_nothing(shared: Shared) -> None:
    async with seats(shared, "A", "B"):
        await shared.add(slots(4, "A"))
        for number in range(200):
            await shared.put(shared.keys.uid(f"nobody-{number}"), as_json(UidWish(drained=True)))
            await shared.put(shared.keys.pool(f"no.class-{number}"), as_json(PoolWish(5)))
        await shared.dance()
        assert set((await shared.owners()).values()) == {"A", "B"}
        await asyncio.sleep(0)
