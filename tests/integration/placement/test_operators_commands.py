"""``horde placement …`` and ``horde pool …`` as an operator runs them, beside living miners."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from horde_agents.cli.embedded import write_config
from horde_agents.placement.records import PoolReport, PoolWish, SlotState, as_json
from horde_agents.testing.consul_server import ConsulServer
from horde_agents.testing.wallets import hotkey_file
from tests.fixtures.waiting import eventually
from tests.integration.placement.conftest import (
    CLASS,
    Shared,
    seats,
    sharing_in_consul,
    sharing_in_file,
    slots,
)

ALICE, BOB = "5AliceAliceAliceAliceAlice", "5BobBobBobBobBobBobBob"


@dataclass
class Outcome:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, read."""
        return json.loads(self.out)


class Operator:
    """Somebody with a miner's settings file."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        path, _ = hotkey_file(folder, "miner")
        self.config = folder / "miner.toml"
        files = {"database_url": f"sqlite:///{folder}/m.sqlite3", "data_dir": str(folder / "data")}
        secret = folder / "secret"
        secret.write_text("secret")
        named = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
        common = {"hotkey_file": str(path), "horde_secret_file": str(secret), **files}
        write_config(self.config, {**common, **named})

    async def run(self, *words: str) -> Outcome:
        """Run a command; 80 columns, no terminal."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "horde_agents",
            *words,
            "--config",
            str(self.config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Outcome(process.returncode or 0, out.decode(), err.decode())

    async def does(self, *words: str) -> str:
        """Run a command that goes well; its output."""
        outcome = await self.run(*words)
        assert outcome.code == 0, outcome.err
        return outcome.out

    async def refused(self, *words: str) -> str:
        """Run a command that is refused; its one sentence."""
        outcome = await self.run(*words)
        assert (outcome.code, outcome.out) == (2, ""), outcome
        assert outcome.err.startswith("horde: ")
        assert len(outcome.err.splitlines()) == 1
        return outcome.err


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Shared]:
    """A horde in a file: a command takes seconds to start, and the stores pass one contract."""
    async with sharing_in_file(tmp_path / "placement.sqlite3") as found:
        yield found


@pytest.fixture
def operator(shared: Shared, tmp_path: Path) -> Operator:
    return Operator(tmp_path, shared.settings)


async def test_show_draws_the_horde_within_80_columns(shared: Shared, operator: Operator) -> None:
    gpu = "node:" + "+".join(f"GPU-{number}2345678-1234-1234-1234-123456789abc" for number in (1, 2))
    async with seats(shared, ALICE, BOB) as (alice, _):
        await shared.any_choreographer()
        ready, leased, vacant = slots(3, ALICE)
        alice.open_jobs.add("a-job")
        await shared.add(
            [
                ready,
                replace(leased, state=SlotState.LEASED, job_uuid="a-job"),
                replace(vacant, state=SlotState.VACANT, says="its node was drained"),
                replace(ready, slot_id=gpu, owner=BOB, pinned=True),
            ]
        )
        await shared.put(shared.keys.slot("x"), "{")
        await shared.drain(BOB)
        text = await operator.does("placement", "show")
        lines = text.splitlines()
        assert max(len(line) for line in lines if "UNREADABLE" not in line and gpu not in line) <= 80
        assert lines[0].endswith("4 slots, 2 living miners")
        assert "UID 1    5AliceAl  ■▶□" in lines
        assert "UID 2    5BobBobB  ■  drained" in lines
        assert "job a-job" in text
        assert "says: its node was drained" in text
        assert f"UNREADABLE: {shared.keys.slot('x')}" in text
        found = (await operator.run("placement", "show", "--json")).json
        assert {slot["slot_id"]: slot["state"] for slot in found["slots"]}[gpu] == "ready"
        assert (found["drained"], len(found["members"]), len(found["garbage"])) == ([BOB], 2, 1)
        assert found["roles"] == {"choreographer": await shared.choreographer()}


async def test_dance_moves_slots_and_the_history_tells_of_it(shared: Shared, operator: Operator) -> None:
    async with seats(shared, ALICE, BOB):
        await shared.any_choreographer()
        await shared.add(slots(6, ALICE))
        assert await operator.does("placement", "dance") == "The dance is over. 3 of 6 slots moved.\n"
        assert Counter((await shared.owners()).values()) == {ALICE: 3, BOB: 3}
        lines = (await operator.does("placement", "history")).splitlines()
        assert len(lines) == 3
        assert all("dance" in line and "5AliceAl → 5BobBobB" in line for line in lines)


async def test_commands_do_the_same_in_consul(consul_server: ConsulServer, tmp_path: Path) -> None:
    async with sharing_in_consul(consul_server) as shared, seats(shared, ALICE, BOB):
        operator = Operator(tmp_path, shared.settings)
        await shared.any_choreographer()
        await shared.add(slots(6, ALICE))
        assert await operator.does("placement", "dance") == "The dance is over. 3 of 6 slots moved.\n"
        assert "dance" in await operator.does("placement", "history")
        await operator.does("placement", "pin", "node:cpu-0", "--to", BOB)
        assert (await shared.owners())["node:cpu-0"] == BOB


async def test_dance_that_moves_nothing_says_why(shared: Shared, operator: Operator) -> None:
    async with seats(shared, ALICE):
        await shared.add(slots(2, ALICE))
        said = await operator.does("placement", "dance")
        assert "No slot moved: of 1 living miners 1 dance" in said


async def test_dance_without_a_choreographer_is_withdrawn(shared: Shared, operator: Operator) -> None:
    await shared.add(slots(2, ALICE))
    assert "is choreographer" in await operator.refused("placement", "dance", "--wait", "1")
    assert not (await shared.state()).dance_wanted


async def test_drain_and_pin_are_obeyed_until_they_are_taken_back(shared: Shared, operator: Operator) -> None:
    async with seats(shared, ALICE, BOB):
        await shared.add(slots(2, ALICE))
        assert BOB in await operator.does("placement", "pin", "node:cpu-0", "--to", "5Bob")
        assert (await shared.owners())["node:cpu-0"] == BOB
        assert "already" in await operator.does("placement", "pin", "node:cpu-0")
        assert (await shared.history())[0].why == "pinned"
        assert f"{BOB} is drained.\n" == await operator.does("placement", "drain", "2")
        await operator.does("placement", "unpin", "node:cpu-0")

        async def moved() -> bool:
            return set((await shared.owners()).values()) == {ALICE}

        await eventually(moved)
        assert "not drained" in await operator.does("placement", "undrain", BOB)
        assert (await shared.state()).uid_wishes == {}


async def test_what_is_not_there_is_named_with_a_remedy(shared: Shared, operator: Operator) -> None:
    async with seats(shared, ALICE) as (alice,):
        alice.open_jobs.add("j")
        leased = replace(slots(1, ALICE)[0], state=SlotState.LEASED, job_uuid="j")
        await shared.add([leased])
        assert "Did you mean 'node:cpu-0'?" in await operator.refused("placement", "pin", "node:cpu-7")
        assert "'5Eve'. There are: 5Alice" in await operator.refused("placement", "drain", "5Eve")
        assert "always_on.test" in await operator.refused("pool", "drain", "always_on.tset")


async def test_pool_shows_what_is_wanted_and_takes_wishes(shared: Shared, operator: Operator) -> None:
    ready, vacant = slots(2, ALICE)
    await shared.add([ready, replace(vacant, state=SlotState.VACANT, says="its node was lost")])
    await operator.does("pool", "drain", CLASS)
    assert (await shared.state()).pool_wishes == {CLASS: PoolWish(0)}
    await operator.does("pool", "refill", CLASS, "--holders", "3")
    report = PoolReport(3, 1, 1, "Nomad has no place for it")
    await shared.put(shared.keys.report(CLASS), as_json(report))
    text = await operator.does("pool", "show")
    assert "an operator wants 3 holders" in text
    assert "waiting: Nomad has no place for it" in text
    assert "vacant node:cpu-1: its node was lost" in text
    row = (await operator.run("pool", "show", "--json")).json[CLASS]
    assert (row["wanted"], row["holders"], row["waiting"]) == (3, 1, 1)
    await operator.does("pool", "refill", CLASS)
    assert (await shared.state()).pool_wishes == {}
    assert (await operator.run("pool", "refill", CLASS, "--holders", "-1")).code == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "neither 'consul_urls' nor 'placement_file'"),
        ({"consul_urls": ["http://127.0.0.1:9"]}, "Consul at http://127.0.0.1:9 does not answer"),
        ({"placement_file": "/nonexistent/placement.sqlite3"}, "There is no placement file"),
    ],
)
async def test_store_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    assert says in await Operator(tmp_path, settings).refused("placement", "show")
