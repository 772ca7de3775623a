"""What is true of a running cluster: by Consul, by Nomad, by the agents' stores, and on the machine."""

import json
import sqlite3
import subprocess
import time
import urllib.request
from collections import Counter, defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from horde_agents.agents.miner.nomad.picture import PREFIX
from horde_agents.cli.cluster import HORDE, ClusterHorde
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.clients.nomad import Nomad
from horde_agents.clients.nomad_rows import Allocation
from horde_agents.placement.records import HordeState, Keys, read_state
from horde_agents.receipts.pages import page_of

KEYS = Keys(HORDE)
_HOLDER = b"horde_agents.agents.executor"


@dataclass(frozen=True, slots=True)
class HolderProcess:
    """A holder on this machine."""

    pid: int
    allocation_id: str
    node: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt as its validator knows it."""

    uuid: str
    job_uuid: str
    miner_hotkey: str
    state: str


@dataclass(slots=True)
class Sight:
    """One cluster, looked at from everywhere."""

    cluster: ClusterHorde
    consul: ConsulCoordination
    nomad: Nomad

    @property
    def devices(self) -> list[str]:
        """All GPUs of all nodes."""
        return sorted(gpu.uuid for node in self.cluster.nodes.values() for gpu in node.gpus)

    async def placement(self) -> HordeState:
        """The records as Consul's leader knows them now."""
        return read_state(KEYS, await self.consul.snapshot(KEYS.prefix))

    async def live_allocations(self) -> list[Allocation]:
        """The holders' allocations that are not over for Nomad."""
        rows = await self.nomad.allocations(PREFIX)
        return [row for row in rows if row.client_status in {"pending", "running", "unknown"}]

    async def who_is(self, role: str) -> str | None:
        """The name of the miner that has ``role``."""
        state = await self.placement()
        hotkey = state.who_has(role)
        return None if hotkey is None else self.name_of(hotkey)

    def name_of(self, hotkey: str) -> str:
        """An agent's name by its hotkey."""
        return next(name for name, known in self.cluster.horde.hotkeys.items() if known == hotkey)

    def holders(self) -> list[HolderProcess]:
        """The holders that run on this machine, by their own environment: without what they forked."""
        found = {}
        for process in Path("/proc").iterdir():
            if process.name.isdecimal() and (holder := _holder(process, self._work_dir)) is not None:
                found[holder.pid] = holder
        return [holder for pid, holder in found.items() if _parent(pid) not in {None, *found}]

    def executors(self) -> dict[int, list[int]]:
        """What each holder has forked."""
        return {holder.pid: children(holder.pid) for holder in self.holders()}

    def containers(self) -> list[str]:
        """Containers that this horde's executors made."""
        label = f"label=horde.work_dir={self._work_dir}"
        said = subprocess.run(
            ["docker", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True
        )
        return said.stdout.split()

    def idle(self, miner: str) -> int:
        """Executors that are connected to a miner and idle."""
        address = self.cluster.horde.operators[miner]
        with suppress(HTTPError):
            _text(f"http://{address}/readyz")  # counts them, and says 503 if there is none
        return int(float(_line(_text(f"http://{address}/metrics"), "horde_miner_slots_idle")))

    def offered(self) -> Counter[str]:
        """By miner's hotkey, how many executors its newest manifest at the validator offers."""
        rows = self._rows("validator", "SELECT miner_hotkey, executors FROM manifests")
        counts: Counter[str] = Counter()
        for hotkey, executors in rows:
            counts[hotkey] += executors
        return counts

    def attempts(self) -> list[AttemptRow]:
        """All attempts of the validator."""
        rows = self._rows("validator", "SELECT uuid, job_uuid, miner_hotkey, state FROM attempts")
        return [AttemptRow(*row) for row in rows]

    def issued(self) -> dict[str, set[str]]:
        """By attempt, the types of the receipts that the validator has signed."""
        found: dict[str, set[str]] = defaultdict(set)
        for uuid, kind in self._rows("validator", "SELECT job_uuid, receipt_type FROM receipts"):
            found[uuid].add(kind)
        return found

    def open_leases(self, miner: str) -> list[str]:
        """Slots that a miner's store has leased."""
        rows = self._rows(miner, "SELECT slot_id FROM leases WHERE ended_at IS NULL")
        return [row[0] for row in rows]

    def receipts(self) -> list[dict[str, Any]]:
        """All receipts on the pages of all miners since the cluster began."""
        horde = self.cluster.horde
        begun_s = (horde.folder / "facilitator.toml").stat().st_mtime
        first, last = page_of(begun_s), page_of(time.time())
        return [
            receipt
            for address in horde.miners.values()
            for page in range(first, last + 1)
            for receipt in _page(f"{address}/receipts/{page}.jsonl")
        ]

    @property
    def _work_dir(self) -> str:
        return str(self.cluster.horde.folder / "slots")

    def _rows(self, agent: str, query: str) -> list[Any]:
        file = self.cluster.horde.folder / f"{agent}.sqlite3"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as store:
            return store.execute(query).fetchall()


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has forked; none of one that is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _holder(process: Path, work_dir: str) -> HolderProcess | None:
    try:
        if _HOLDER not in (process / "cmdline").read_bytes():
            return None
        entries = (process / "environ").read_bytes().decode().split("\0")
    except OSError:
        return None  # it has ended
    env = dict(entry.partition("=")[::2] for entry in entries)
    if env.get("HORDE_EXECUTOR_WORK_DIR") != work_dir:
        return None
    devices = tuple(sorted(env["NVIDIA_VISIBLE_DEVICES"].split(",")))
    return HolderProcess(int(process.name), env["NOMAD_ALLOC_ID"], env["HORDE_EXECUTOR_NODE_NAME"], devices)


def _parent(pid: int) -> int | None:
    """None of one that has ended meanwhile."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return str(reply.read().decode())


def _page(url: str) -> list[dict[str, Any]]:
    """The receipts of a page; an empty one is not there."""
    try:
        return [json.loads(line) for line in _text(url).splitlines()]
    except HTTPError as error:
        if error.code == 404:
            return []
        raise


def _line(metrics: str, name: str) -> str:
    return next(line.split()[1] for line in metrics.splitlines() if line.startswith(f"{name} "))
