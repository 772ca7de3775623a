"""The agents as Nomad runs them: their jobs with the image that is really theirs, until all are ready."""

import json
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest

from horde_agents.testing.server_process import free_ports
from horde_agents.testing.wallets import hotkey_file
from tests.integration.nomad_jobs.conftest import GpuNode, until
from tools.nomad_specs import parsed

pytestmark = pytest.mark.docker


def deployed(node: GpuNode, agent: str, /, **given: Any) -> dict[str, Any]:
    """The running allocation of the agent's job, once its deployment is healthy."""
    job = parsed(agent, given)
    job["NodePool"] = "horde-gpu"  # the only node here
    job["Update"]["MinHealthyTime"] = 10**9
    (group,) = job["TaskGroups"]
    for check in group["Services"][0]["Checks"]:
        check["Interval"] = 10**9
    (task,) = group["Tasks"]
    task["User"] = "10001:10001"  # this machine has no user of the image's name
    node.run(job)

    def is_healthy() -> bool:
        states = [each["Status"] for each in node.call("GET", f"job/{job['ID']}/deployments")]
        assert "failed" not in states, node.log(job["ID"], agent)
        return states == ["successful"]

    try:
        until(is_healthy, f"the deployment of {job['ID']} is healthy by both checks", wait_s=120)
    except AssertionError:
        pytest.fail(f"{job['ID']} does not become healthy: {node.events(job['ID'], agent)}")
    allocation = node.allocation(job["ID"])
    assert allocation is not None
    return allocation


def put_secrets(node: GpuNode, job: str, **items: str) -> None:
    node.call("PUT", f"var/nomad/jobs/{job}", {"Items": items})


def test_agents_run_from_their_image_and_find_each_other(
    gpu_node: GpuNode, agent_image: str, tmp_path: Path
) -> None:
    public, executors, users, api = free_ports(4)
    keys = {name: hotkey_file(tmp_path, name) for name in ("miner-9", "validator-9")}
    for name, (path, _) in keys.items():
        agent = name.partition("-")[0]
        database = f"sqlite+aiosqlite:////alloc/data/{agent}.sqlite3"
        put_secrets(gpu_node, name, hotkey=path.read_text(), database_url=database)
    put_secrets(gpu_node, "facilitator-9", database_url="sqlite+aiosqlite:////alloc/data/facilitator.sqlite3")

    deployed(
        gpu_node,
        "facilitator",
        image=agent_image,
        name="facilitator-9",
        port=users,
        network="loopback",
        settings={"allowed_validators": json.dumps([keys["validator-9"][1].hotkey])},
    )
    deployed(
        gpu_node,
        "miner",
        image=agent_image,
        uid=9,
        port=public,
        network="loopback",
        executor_port=executors,
        executor_network="loopback",
        wait_for_ready=False,  # it has no executors
        settings={"allowed_validators": json.dumps([keys["validator-9"][1].hotkey])},
    )
    known = {"hotkey": keys["miner-9"][1].hotkey, "host": "127.0.0.1", "port": public}
    deployed(
        gpu_node,
        "validator",
        image=agent_image,
        name="validator-9",
        api_port=api,
        api_network="loopback",
        facilitator_urls=[f"ws://127.0.0.1:{users}/ws/v0/"],
        settings={"debug_miners": json.dumps([known])},
    )
    with urllib.request.urlopen(f"http://127.0.0.1:{api}/api/v1/status", timeout=5) as reply:
        assert json.loads(reply.read())["hotkey"] == keys["validator-9"][1].hotkey
    for job in ("facilitator-9", "miner-9", "validator-9"):
        assert '"level": "error"' not in gpu_node.log(job, job.partition("-")[0])
        gpu_node.call("DELETE", f"job/{job}")


@pytest.mark.parametrize("agent", ["facilitator", "validator", "miner"])
def test_an_update_that_is_not_healthy_is_taken_back_at_once(agent: str) -> None:
    """Else Nomad starts it again and again for the whole deadline, and nobody is served meanwhile."""
    image = f"registry.example/horde/agents@sha256:{'0' * 64}"
    update = parsed(agent, {"image": image} | ({"uid": 7} if agent == "miner" else {}))["Update"]
    assert (update["AutoRevert"], update["ProgressDeadline"]) == (True, 0)


def test_an_agent_goes_to_no_node_that_is_not_bound_to_it(gpu_node: GpuNode, agent_image: str) -> None:
    (node,) = gpu_node.call("GET", "nodes")

    def left_over(*ids: str) -> bool:
        job = parsed("facilitator", {"image": agent_image, "node_ids": list(ids)})
        job["NodePool"] = "horde-gpu"  # the only node here
        plan = gpu_node.call("POST", f"job/{job['ID']}/plan", {"Job": job, "Diff": False})
        return bool(plan["FailedTGAllocs"])

    another = str(uuid.uuid4())
    assert left_over(another)
    assert not left_over(another, node["ID"])
