"""Every command of docs/operate/nomad.md, word by word and in its order, on a whole cluster."""

import asyncio
import base64
import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from horde_agents.cli.cluster import GPU_CLASS, ClusterHorde, ClusterPlan, cluster_horde
from horde_agents.placement.holders import ALL
from horde_agents.testing.nomad_server import FakeGpu
from tests.e2e.users import as_user, ended, reached, request
from tools.setup.servers import CONSUL, NOMAD, program

PAGE: Final = Path(__file__).parents[2] / "docs" / "operate" / "nomad.md"
_BLOCK: Final = re.compile(r"<!-- try: (\w+) -->\n```sh\n(.*?)```", re.DOTALL)
_KEPT: Final = "JOB ALLOC NODE"


@dataclass
class Operator:
    """A shell with the page's commands; variables live on from block to block."""

    cluster: ClusterHorde
    blocks: dict[str, str]
    folder: Path
    tried: int = 0

    def run(self, name: str) -> str:
        """Run the page's next block, which must be ``name``; what it printed."""
        assert list(self.blocks)[self.tried] == name, "the blocks are tried in the page's order"
        self.tried += 1
        kept = self.folder / "variables"
        kept.touch()
        keep = f"declare -p {_KEPT} 2>/dev/null >{kept} || true"
        script = f"set -eo pipefail\n. {kept}\n{self.blocks[name]}\n{keep}"
        done = subprocess.run(
            ["bash", "-c", script], env=self._env(), capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0 or name == "horde", f"{name}: {done.stdout}{done.stderr}"
        return done.stdout

    def variable(self, name: str) -> str:
        """One that a block has set."""
        text = (self.folder / "variables").read_text()
        found = re.search(rf"declare -- {name}=(.*)", text)
        assert found, text
        return shlex.split(found[1])[0]

    def slots(self) -> dict[str, dict[str, Any]]:
        """The slots by id, as Consul has them."""
        with _get(f"{self.cluster.consul[0].url}/v1/kv/horde/demo/slots/?recurse") as rows:
            found = [json.loads(base64.b64decode(row["Value"])) for row in rows]
        return {slot["slot_id"]: slot for slot in found}

    def _env(self) -> dict[str, str]:
        places = [str(program(NOMAD).parent), str(program(CONSUL).parent), str(Path(sys.executable).parent)]
        return {
            **os.environ,
            "HORDE_DOCTOR_WAIVE": "clock runc nomad",  # what a machine of tests need not have
            "PATH": ":".join([*places, os.environ["PATH"]]),
            "NOMAD_ADDR": self.cluster.nomad[0].url,
            "NOMAD_CLI_SHOW_HINTS": "false",
            "CONSUL_HTTP_ADDR": self.cluster.consul[0].url,
            "CONFIG": str(self.cluster.horde.folder / "miner.toml"),
        }


def until(condition: Callable[[], bool], what: str, wait_s: float = 60) -> None:
    """Wait until it is so."""
    deadline_s = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.5)


def test_every_block_of_commands_has_a_name() -> None:
    assert len(_BLOCK.findall(PAGE.read_text())) == PAGE.read_text().count("```sh")


@pytest.mark.timeout(400)
def test_every_command_of_the_page_does_what_it_says(tmp_path: Path, job_image: str) -> None:
    gpus = {f"gpu{node}": [FakeGpu(f"GPU-{node}{letter}") for letter in "ab"] for node in (1, 2)}
    with cluster_horde(tmp_path / "horde", ClusterPlan(gpus, {GPU_CLASS: ALL})) as cluster:
        operator = Operator(cluster, dict(_BLOCK.findall(PAGE.read_text())), tmp_path)
        until(lambda: _served(operator) == 4, "four slots are served")
        asyncio.run(_see(operator, job_image))
        _stop(operator)
        _count(operator)
        _drain(operator)
        operator.run("upgrade")
        assert operator.tried == len(operator.blocks)
        until(lambda: _served(operator) == 4, "all slots are in service at the end")
        assert _repeated_stops(tmp_path / "horde") == []
        asyncio.run(_one_job(operator, job_image))


async def _see(operator: Operator, image: str) -> None:
    said = operator.run("classes")
    assert said.count("holder-l/dispatch-demo-") == 8  # four holders in either list
    assert said.strip().endswith(GPU_CLASS)
    said = operator.run("holder")
    for word in ("executor_class:always_on.llm.a6000", "horde:demo", "index:", "generation:1", "miners:"):
        assert word in said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    slot = next(
        each for each in operator.slots().values() if each["allocation_id"] == operator.variable("ALLOC")
    )
    serves = [line for line in lines if line["event"] == "serves"][-1]
    assert (serves["slot"], serves["uid"]) == (slot["slot_id"], slot["uid"])
    async with as_user(operator.cluster.horde) as client:
        job = request(image, "sleep", "100", executor_class=GPU_CLASS, execution_time_limit=120)
        sent = await client.submit(job)
        await reached(client, sent["uuid"], "volumes_ready")
        leased = await asyncio.to_thread(_leased, operator)
        lines = [json.loads(line) for line in operator.run("all").splitlines()]
        assert len({line["slot"] for line in lines}) == 4
        busy = [line for line in lines if line["event"] == "attempt begins"]
        assert [(line["slot"], line["job"]) for line in busy] == [(leased["slot_id"], leased["job_uuid"])]
        assert {line["uid"] for line in lines if line["event"] == "serves"} <= {1, 2}
        said = operator.run("consul")
        assert leased["job_uuid"] in said
        assert all(f'"uid":"{uid}"' in said for uid in (1, 2)), "the catalogue's meta"
        said = operator.run("horde")
        assert f"job {leased['job_uuid']}" in said
        assert "4 of 4 run" in said
        assert "wrong  " not in said, said
        await client.cancel(sent["uuid"])
        await ended(client, sent["uuid"])


def _leased(operator: Operator) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [slot for slot in operator.slots().values() if slot["state"] == "leased"]
        return bool(found)

    until(look, "the lease is marked")
    return found[0]


def _stop(operator: Operator) -> None:
    before = operator.slots()
    operator.run("stop")
    _replaced(operator, before)
    before = operator.slots()
    operator.run("alloc")
    _replaced(operator, before)
    operator.run("pause")


def _replaced(operator: Operator, before: dict[str, dict[str, Any]]) -> None:
    """One slot has another allocation, and every slot the UID of before."""

    def is_so() -> bool:
        now = operator.slots()
        fresh = [name for name in now if now[name]["allocation_id"] != before[name]["allocation_id"]]
        return len(fresh) == 1 and _served(operator) == 4

    until(is_so, "the holder is replaced")
    assert _uids(operator.slots()) == _uids(before)


def _count(operator: Operator) -> None:
    operator.run("fewer")
    until(lambda: _served(operator) == 2, "two holders are stopped")
    operator.run("configured")
    until(lambda: _served(operator) == 4, "they are there again")
    said = operator.run("short")
    assert "Placement Failure" in said
    assert "devices: no devices match request" in said
    assert said.count("blocked") >= 1
    until(lambda: "pending" not in _jobs(operator), "the fifth is taken back")


def _drain(operator: Operator) -> None:
    before = operator.slots()
    said = operator.run("drain")
    assert "new fans" in said or "drain" in said.lower()
    until(lambda: _states(operator, "gpu1") == ["vacant", "vacant"], "the node's holders are stopped")
    assert _states(operator, "gpu2") == ["ready", "ready"]
    operator.run("back")
    until(lambda: _served(operator) == 4, "the node's holders are there again")
    assert _uids(operator.slots()) == _uids(before)


def _states(operator: Operator, node: str) -> list[str]:
    return [slot["state"] for slot in operator.slots().values() if slot["node"] == node]


def _served(operator: Operator) -> int:
    """Slots that a holder keeps, and whose executors a miner has taken in."""
    ready = sum(slot["state"] in {"ready", "leased"} for slot in operator.slots().values())
    return min(ready, sum(_connected(operator)))


def _connected(operator: Operator) -> Iterator[int]:
    for name, address in operator.cluster.horde.operators.items():
        if name.startswith("miner"):
            with _get(f"http://{address}/executors") as found:
                yield found["idle"] + found["busy"]


def _repeated_stops(folder: Path) -> list[str]:
    """Holders that the keeper has stopped again and again."""
    lines = [line for log in folder.glob("miner*.log") for line in log.read_text().splitlines()]
    events = [json.loads(line) for line in lines if '"stopping a holder"' in line]
    counts = Counter(event["nomad_job"] for event in events)
    return [name for name, count in counts.items() if count > 2]


def _uids(slots: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {name: slot["uid"] for name, slot in slots.items()}


def _jobs(operator: Operator) -> str:
    with _get(f"{operator.cluster.nomad[0].url}/v1/jobs?prefix=holder-l/") as rows:
        return " ".join(row["Status"] for row in rows)


@contextmanager
def _get(url: str) -> Iterator[Any]:
    with urllib.request.urlopen(url, timeout=10) as reply:
        yield json.load(reply)


async def _one_job(operator: Operator, image: str) -> None:
    async with as_user(operator.cluster.horde) as client:
        sent = await client.submit(request(image, "true", executor_class=GPU_CLASS))
        job = await ended(client, sent["uuid"])
    assert job["status_history"][-1]["status"] == "completed", job["status_history"][-1]
