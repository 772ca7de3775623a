"""Jobs, children, allocations and nodes as the client reads them from a real Nomad."""

import asyncio
from uuid import uuid4

import pytest

from horde_agents.clients.cluster_http import ServerAway, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.clients.nomad_rows import Allocation, Child
from tests.contract.nomad.conftest import link_to, script_job
from tests.fixtures.nomad import NomadStage
from tests.fixtures.waiting import eventually

JOB_FILE = """
variable "count" { type = number }
job "holder-h" {
  group "g" {
    count = var.count
    task "t" {
      driver = "raw_exec"
    }
  }
}
"""


async def only_allocation(nomad: Nomad, child: Child, status: str) -> Allocation:
    async def found() -> Allocation | None:
        rows = await nomad.allocations_of(child.job_id)
        return next((row for row in rows if row.client_status == status), None)

    allocation = await eventually(found)
    assert isinstance(allocation, Allocation)
    return allocation


async def test_job_file_is_read_with_its_variables(nomad: Nomad) -> None:
    job = await nomad.parse(JOB_FILE, "count = 3\n")
    assert (job["ID"], job["TaskGroups"][0]["Count"]) == ("holder-h", 3)


@pytest.mark.parametrize(
    ("hcl", "reason"), [("job {", "Unclosed configuration block"), (JOB_FILE, "count")], ids=["hcl", "count"]
)
async def test_wrong_job_file_is_refused_with_nomads_reason(nomad: Nomad, hcl: str, reason: str) -> None:
    with pytest.raises(ServerRefused, match=reason):
        await nomad.parse(hcl, "")


async def test_job_that_nomad_refuses_is_refused_with_its_reason(nomad: Nomad) -> None:
    job = script_job()
    job["TaskGroups"] = []
    with pytest.raises(ServerRefused, match="Missing job task groups"):
        await nomad.register(job)


async def test_unknown_job_and_allocation_are_none(nomad: Nomad) -> None:
    assert await nomad.job("holder-none") is None
    assert await nomad.allocation(str(uuid4())) is None
    assert await nomad.allocations_of("holder-none") == []


async def test_dispatch_of_an_unknown_job_is_refused(nomad: Nomad) -> None:
    with pytest.raises(ServerRefused, match="not found"):
        await nomad.dispatch("holder-none", "t", {})


async def test_dispatch_with_meta_that_the_job_does_not_take_is_refused(nomad: Nomad) -> None:
    await nomad.register(script_job())
    with pytest.raises(ServerRefused, match=r"unpermitted metadata keys: \[garbage\]"):
        await nomad.dispatch("holder-x", "t", {"garbage": "1"})


async def test_child_is_listed_with_parent_and_meta(nomad: Nomad) -> None:
    await nomad.register(script_job())
    child = await nomad.dispatch("holder-x", "t1", {"index": "4", "horde": "h"}, "some-attempt")
    assert child.job_id.startswith("holder-x/dispatch-some-attempt-")
    (listed,) = await nomad.children("holder-")
    assert (listed.job_id, listed.parent_id) == (child.job_id, "holder-x")
    assert (listed.meta, listed.stopped) == ({"index": "4", "horde": "h"}, False)
    job = await nomad.job(child.job_id)
    assert job is not None
    assert job["DispatchIdempotencyToken"] == "t1"
    assert await nomad.children("holder-y") == []


@pytest.mark.usefixtures("all_gpus")
async def test_allocation_shows_node_devices_and_end(nomad: Nomad, nomad_stage: NomadStage) -> None:
    await nomad.register(script_job(script="exit 3", gpus=2))
    child = await nomad.dispatch("holder-x", "t", {})
    ended = await only_allocation(nomad, child, "failed")
    allocation = await nomad.allocation(ended.allocation_id)
    assert allocation is not None
    assert allocation.node_name in nomad_stage.nodes
    node = nomad_stage.nodes[allocation.node_name]
    assert allocation.devices == tuple(sorted(gpu.uuid for gpu in node.gpus))
    assert (allocation.exit_code, allocation.desired_status) == (3, "run")
    assert await nomad.allocations("holder-") == [allocation]


async def test_nodes_show_pool_state_and_devices(nomad: Nomad, nomad_stage: NomadStage) -> None:
    nodes = {node.name: node for node in await nomad.nodes("horde-gpu")}
    assert nodes.keys() == nomad_stage.nodes.keys()
    gpu1 = nodes["gpu1"]
    assert (gpu1.status, gpu1.eligible, gpu1.draining) == ("ready", True, False)
    assert gpu1.node_id == nomad_stage.nodes["gpu1"].node_id()
    assert [(gpu.device_id, gpu.model, gpu.memory_mib) for gpu in gpu1.devices] == [
        (gpu.uuid, gpu.name, gpu.memory_mib) for gpu in nomad_stage.nodes["gpu1"].gpus
    ]
    assert await nomad.nodes("default") == []


@pytest.mark.usefixtures("all_gpus")
async def test_blocked_child_waits_with_a_reason_until_a_device_is_free(nomad: Nomad) -> None:
    await nomad.register(script_job(gpus=2))
    first, second, third = [await nomad.dispatch("holder-x", f"t{number}", {}) for number in range(3)]
    why = await eventually(lambda: nomad.why_blocked(third.job_id))
    assert "devices" in why
    waiting = {child.job_id: child.waiting for child in await nomad.children("holder-x")}
    assert waiting == {first.job_id: 0, second.job_id: 0, third.job_id: 1}
    await nomad.stop(first.job_id)
    await only_allocation(nomad, third, "running")
    assert await nomad.why_blocked(third.job_id) is None


async def test_child_that_no_node_can_serve_says_what_is_missing(nomad: Nomad) -> None:
    await nomad.register(script_job(gpus=3))
    child = await nomad.dispatch("holder-x", "t", {})
    assert "missing devices" in await eventually(lambda: nomad.why_blocked(child.job_id))


async def test_child_for_a_pool_without_nodes_says_so(nomad: Nomad) -> None:
    job = script_job()
    job["NodePool"] = "default"
    await nomad.register(job)
    child = await nomad.dispatch("holder-x", "t", {})
    assert "no ready node" in await eventually(lambda: nomad.why_blocked(child.job_id))


async def test_dispatch_repeated_with_its_token_is_the_same_child(nomad: Nomad) -> None:
    await nomad.register(script_job())
    first = await nomad.dispatch("holder-x", "again", {})
    assert (await nomad.dispatch("holder-x", "again", {})).job_id == first.job_id
    await nomad.stop(first.job_id)
    assert (await nomad.dispatch("holder-x", "again", {})).job_id == first.job_id
    assert (await nomad.dispatch("holder-x", "other", {})).job_id != first.job_id
    assert len(await nomad.children("holder-x")) == 2


async def test_dispatches_at_once_with_one_token_are_one_child(nomad: Nomad) -> None:
    await nomad.register(script_job(script="true"))
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(nomad.dispatch("holder-x", "race", {"index": "1"})) for _ in range(12)]
    (child,) = await nomad.children("holder-x")
    assert {task.result().job_id for task in asked} == {child.job_id}


async def test_dispatch_whose_answer_was_lost_is_repeated_without_a_second_child(
    nomad: Nomad, nomad_stage: NomadStage
) -> None:
    await nomad.register(script_job(script="true"))
    async with link_to(nomad_stage.server) as link:
        shaky = Nomad(type(nomad.address)((link.url,)), nomad.namespace)
        link.loses_answers = True
        with pytest.raises(ServerAway):
            await shaky.dispatch("holder-x", "lost", {})
        assert link.lost
        (made,) = await nomad.children("holder-x")
        link.loses_answers = False
        assert (await shaky.dispatch("holder-x", "lost", {})).job_id == made.job_id
        await shaky.close()
    assert len(await nomad.children("holder-x")) == 1
