"""A horde on real Nomad and Consul: jobs against the embedded pool and bare dispatches, and a first fill."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
from yarl import URL

from horde_agents.cli.cluster import HORDE, ClusterHorde, ClusterPlan, cluster_horde
from horde_agents.cli.embedded import EmbeddedHorde, embedded_horde
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.clients.facilitator import FacilitatorClient, facilitator_client
from horde_agents.placement.coordination import Put
from horde_agents.placement.records import Keys, PoolWish, as_json
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.testing.nomad_server import NODE_POOL
from tests.bench.figures import Figure, ratio, shown
from tests.bench.jobs import job_s, noop
from tools.setup.job_image import JOB_IMAGE

_CLASS: Final = "always_on.test"
_ROUNDS: Final = 8
_FILL: Final = 16
_READY_S: Final = 120.0
_LOOK_S: Final = 0.05


def cluster_figures() -> list[Figure]:
    """Jobs on a cluster with one slot, then how fast it gets more of them."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        plan = ClusterPlan({"gpu1": []}, {_CLASS: 1}, ["miner"], drivers=("raw_exec", "docker"))
        with (
            embedded_horde(folder / "embedded") as embedded,
            cluster_horde(folder / "cluster", plan) as cluster,
        ):
            return asyncio.run(_measured(embedded, cluster))


async def _measured(embedded: EmbeddedHorde, cluster: ClusterHorde) -> list[Figure]:
    async with _nomad(cluster) as nomad:
        return [*await _jobs(embedded, cluster, nomad), await _fill(cluster, nomad)]


async def _jobs(embedded: EmbeddedHorde, cluster: ClusterHorde, nomad: "_Nomad") -> list[Figure]:
    async with _client(embedded) as inside, _client(cluster.horde) as outside:
        await nomad.register(_bare_job())
        for client in (inside, outside):
            await _until_it_runs(client)
        await nomad.run_s()
        ours, inner, bare, again = [], [], [], []
        for _ in range(_ROUNDS):
            ours.append(await job_s(outside))
            again.append(await _accepted_s(outside))  # the slot's executor has just ended
            inner.append(await job_s(inside))
            bare.append(await nomad.run_s())
    side_by_side = f"{shown(ours)}, {shown(inner)}"
    return [
        Figure("warm no-op job on Nomad / embedded pool", ratio(ours, inner), 1.15, "x", detail=side_by_side),
        Figure(
            "the same / bare Nomad dispatch", ratio(ours, bare), 0.5, "x", detail=f"dispatch {shown(bare)}"
        ),
        Figure("a slot's next job accepted after its last", median(again), 0.2, "s", detail=shown(again)),
    ]


async def _fill(cluster: ClusterHorde, nomad: "_Nomad") -> Figure:
    """The keeper's way from an operator's wish to running holders, against dispatches of the same job."""
    ours = await _wished_s(cluster, nomad, 1 + _FILL)
    await _wished_s(cluster, nomad, 1)
    begun = time.perf_counter()
    meta = {"horde": "bare", "miners": f"127.0.0.1:1/{'0' * 64}", "generation": "1"}
    async with asyncio.TaskGroup() as group:
        for number in range(_FILL):
            group.create_task(nomad.dispatch("holder-t", {**meta, "index": str(number)}))
    await nomad.until_running("holder-t", 1 + _FILL)
    bare = time.perf_counter() - begun
    detail = f"{_FILL} holders in {ours:.2f} s; bare dispatches in {bare:.2f} s"
    return Figure("first fill / Nomad's own dispatches", bare / ours, 0.9, "x", at_most=False, detail=detail)


async def _wished_s(cluster: ClusterHorde, nomad: "_Nomad", count: int) -> float:
    store = ConsulCoordination(ClusterAddress(tuple(server.url for server in cluster.consul)))
    begun = time.perf_counter()
    try:
        assert await store.commit([Put(Keys(HORDE).pool(_CLASS), as_json(PoolWish(count)), None)])
        await nomad.until_running("holder-t", count)
    finally:
        await store.close()
    return time.perf_counter() - begun


@asynccontextmanager
async def _client(horde: EmbeddedHorde) -> AsyncIterator[FacilitatorClient]:
    signer = KeypairSigner.from_hotkey_file(horde.user_file)
    async with facilitator_client(horde.facilitator, signer) as client:
        yield client


async def _until_it_runs(client: FacilitatorClient) -> None:
    """Right after the start the validator may not yet know of the slot, and a job fails."""
    async with asyncio.timeout(_READY_S):
        while True:
            try:
                await job_s(client)
            except AssertionError:
                await asyncio.sleep(1)
            else:
                return


async def _accepted_s(client: FacilitatorClient) -> float:
    """Seconds from the POST to `accepted` on the event stream; returns when the job is over."""
    begun = time.perf_counter()
    job = await client.submit(noop())
    took = 0.0
    async for entry in client.follow(job["uuid"]):
        if entry["status"] == "accepted":
            took = time.perf_counter() - begun
    assert took, "the job was not accepted"
    return took


@dataclass(frozen=True, slots=True)
class _Nomad:
    """Nomad's HTTP interface, and nothing of ours between."""

    url: str
    http: aiohttp.ClientSession

    async def register(self, job: dict[str, Any]) -> None:
        async with self.http.post(f"{self.url}/v1/jobs", json={"Job": job}) as reply:
            reply.raise_for_status()

    async def dispatch(self, job_id: str, meta: dict[str, str]) -> str:
        """The id of the child."""
        async with self.http.post(f"{self.url}/v1/job/{job_id}/dispatch", json={"Meta": meta}) as reply:
            reply.raise_for_status()
            return str((await reply.json())["DispatchedJobID"])

    async def run_s(self) -> float:
        """Seconds from a dispatch of the bare job until it is complete."""
        begun = time.perf_counter()
        child = await self.dispatch("bare", {})
        path = f"/v1/job/{child.replace('/', '%2F')}/allocations"
        index = "0"
        while True:
            params = {"index": index, "wait": "30s"}
            async with self.http.get(URL(f"{self.url}{path}", encoded=True), params=params) as reply:
                rows, index = await reply.json(), reply.headers["X-Nomad-Index"]
            states = {row["ClientStatus"] for row in rows}
            assert "failed" not in states, f"{child} failed"
            if states == {"complete"}:
                return time.perf_counter() - begun

    async def until_running(self, job_id: str, count: int) -> None:
        """Wait until so many allocations of a job's dispatches run, and no more."""
        params = {"filter": f'JobID matches "^{job_id}/" and ClientStatus == "running"'}
        async with asyncio.timeout(_READY_S):
            while True:
                async with self.http.get(f"{self.url}/v1/allocations", params=params) as reply:
                    if len(await reply.json()) == count:
                        return
                await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def _nomad(cluster: ClusterHorde) -> AsyncIterator[_Nomad]:
    async with aiohttp.ClientSession() as http:
        yield _Nomad(cluster.nomad[0].url, http)


def _bare_job() -> dict[str, Any]:
    """The same image with the same bounds, as whoever has only Nomad would run it: by its docker driver."""
    task = {
        "Name": "run",
        "Driver": "docker",
        "Config": {
            "image": JOB_IMAGE.by_digest(),
            "command": "true",
            "network_mode": "none",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "pids_limit": 1024,
            "ipc_mode": "private",
            "init": True,
        },
        "Resources": {"CPU": 100, "MemoryMB": 128},
    }
    group = {
        "Name": "run",
        "Count": 1,
        "RestartPolicy": {"Attempts": 0, "Mode": "fail", "Interval": 10**11, "Delay": 10**9},
        "Tasks": [task],
    }
    return {
        "ID": "bare",
        "Name": "bare",
        "Type": "batch",
        "NodePool": NODE_POOL,
        "Datacenters": ["*"],
        "ParameterizedJob": {},
        "TaskGroups": [group],
    }
