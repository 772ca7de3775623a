"""Each fault of a cluster that doctor has to name, made in real servers."""

import asyncio
import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from horde_agents.agents.miner.nomad.holder_jobs import HolderJobs, holder_job_file
from horde_agents.agents.miner.nomad.picture import parent_id
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.clients.consul_connection import ConsulConnection
from horde_agents.clients.nomad import Nomad
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.placement.coordination import Put
from horde_agents.placement.records import Keys, Slot, SlotState, as_json
from horde_agents.testing.consul_server import ConsulServer
from horde_agents.testing.nomad_server import FakeGpu, GpuNodeAgent, NomadServer
from horde_agents.testing.server_process import free_ports
from tests.integration.doctor.conftest import Doctor, LockedNomad
from tools.setup.places import ROOT

READS_NODES = 'node { policy = "read" }'
SLOT = Slot("gpu1:GPU-a", "always_on.gpu.a6000", "gpu1", ("GPU-a",), "5Bob", 9, 1, SlotState.READY)


@pytest.fixture
def horde() -> str:
    """A name that no other test has."""
    return f"h-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def sharing(doctor: Doctor, consul_server: ConsulServer, horde: str) -> Doctor:
    """A miner whose placement is in the session's Consul."""
    secret = doctor.folder / "secret"
    secret.write_text("secret")
    doctor.settings = {
        "horde": horde,
        "horde_secret_file": str(secret),
        "consul_urls": [consul_server.url],
        "slots": {},
    }
    return doctor


def in_nomad(url: str, folder: Path, **more: Any) -> dict[str, Any]:
    """Settings of a miner with holders in Nomad and its placement in a file."""
    return {
        "pool": "nomad",
        "nomad_urls": [url],
        "placement_file": str(folder / "placement.sqlite3"),
        "slots": {"always_on.gpu.a6000": -1},
        **more,
    }


async def consul_token(server: ConsulServer, folder: Path, rules: str, **more: Any) -> Path:
    """A new token with one policy, in a file."""
    management = folder / "management"
    management.write_text(server.management_token)
    admin = ConsulConnection(ClusterAddress((server.url,), management))
    name = f"doctor-{uuid.uuid4()}"
    await admin.ask("PUT", "/v1/acl/policy", json={"Name": name, "Rules": rules})
    made = await admin.ask("PUT", "/v1/acl/token", json={"Policies": [{"Name": name}], **more})
    await admin.close()
    file = folder / name
    file.write_text(made.body["SecretID"])
    return file


async def test_consul_that_is_away_is_named_with_its_address(sharing: Doctor) -> None:
    (port,) = free_ports(1)
    said = await sharing.wrong("Consul", consul_urls=[f"http://127.0.0.1:{port}"])
    assert f"Consul at http://127.0.0.1:{port} does not answer" in said


async def test_one_of_several_servers_that_is_away_is_named(
    sharing: Doctor, consul_server: ConsulServer
) -> None:
    (port,) = free_ports(1)
    urls = [f"http://127.0.0.1:{port}", consul_server.url]
    found = await sharing.look(consul_urls=urls)
    assert [each["fine"] for each in found if each["check"].startswith("Consul 127.0.0.1")] == [False, True]
    assert next(each["says"] for each in found if each["check"] == "placement").startswith("0 slots")


async def test_consul_without_a_leader_is_named(
    sharing: Doctor, tmp_path: Path, consul_program: Path
) -> None:
    lonely = ConsulServer(consul_program, tmp_path / "lonely", cluster_size=3)
    lonely.start()
    try:
        async with asyncio.timeout(20):
            while "knows no leader" not in (said := await sharing.wrong("Consul", consul_urls=[lonely.url])):
                await asyncio.sleep(0.2)
    finally:
        lonely.process.stop()
    assert "consul operator raft list-peers" in said


async def test_missing_consul_token_is_named(sharing: Doctor, locked_consul: ConsulServer) -> None:
    said = await sharing.wrong("placement", consul_urls=[locked_consul.url])
    assert "does not specify a token" in said


async def test_expired_consul_token_is_named_with_its_file(
    sharing: Doctor, locked_consul: ConsulServer, tmp_path: Path
) -> None:
    file = await consul_token(locked_consul, tmp_path, 'key_prefix "" { policy = "write" }')
    file.write_text(str(uuid.uuid4()))
    said = await sharing.wrong("Consul token", consul_urls=[locked_consul.url], consul_token_file=str(file))
    assert str(file) in said
    assert "it has expired or was deleted" in said


async def test_missing_right_in_consul_is_named(
    sharing: Doctor, locked_consul: ConsulServer, tmp_path: Path, horde: str
) -> None:
    rules = f'key_prefix "horde/{horde}/" {{ policy = "list" }} session_prefix "" {{ policy = "write" }}'
    file = await consul_token(locked_consul, tmp_path, rules)
    said = await sharing.wrong("rights", consul_urls=[locked_consul.url], consul_token_file=str(file))
    assert f"horde/{horde}/slots/doctor" in said
    assert "miner.policy.hcl" in said


async def test_the_policy_that_comes_with_the_project_is_enough(
    sharing: Doctor, locked_consul: ConsulServer, tmp_path: Path, horde: str
) -> None:
    policy = (ROOT / "consul" / "policies" / "miner.policy.hcl").read_text().replace("{{ horde }}", horde)
    file = await consul_token(locked_consul, tmp_path, policy)
    found = await sharing.look(consul_urls=[locked_consul.url], consul_token_file=str(file))
    assert [each["fine"] for each in found if each["check"] in {"Consul token", "placement rights"}] == [
        True
    ] * 2


async def test_hand_edited_key_and_overlapping_devices_are_named(
    sharing: Doctor, consul: ConsulCoordination, horde: str
) -> None:
    keys = Keys(horde)
    both = replace(SLOT, slot_id="gpu1:GPU-a+GPU-b", devices=("GPU-a", "GPU-b"))
    await consul.commit(
        [
            Put(keys.slot(SLOT.slot_id), as_json(SLOT), 0),
            Put(keys.slot(both.slot_id), as_json(both), 0),
            Put(keys.slot("gpu1:GPU-c"), as_json(SLOT)[:-20], 0),
        ]
    )
    found = await sharing.look()
    wrong = {each["check"]: each["says"] for each in found if not each["fine"]}
    assert f"horde/{horde}/slots/gpu1:GPU-c cannot be read" in wrong["placement key"]
    said = json.dumps(found)
    assert "device GPU-a is in several slots" in said
    assert "2 serve UID 9 5Bob, whose miner is away" in said
    assert "no miner has the role" in wrong["choreographer"]


async def test_nomad_that_is_away_is_named_with_its_address(doctor: Doctor) -> None:
    (port,) = free_ports(1)
    said = await doctor.wrong("Nomad", **in_nomad(f"http://127.0.0.1:{port}", doctor.folder))
    assert f"Nomad at http://127.0.0.1:{port} does not answer" in said


async def test_missing_nomad_token_is_named(doctor: Doctor, locked_nomad: LockedNomad) -> None:
    said = await doctor.wrong("Nomad", **in_nomad(locked_nomad.server.url, doctor.folder))
    assert "Permission denied" in said


async def test_expired_nomad_token_is_named_with_its_file(doctor: Doctor, locked_nomad: LockedNomad) -> None:
    file = locked_nomad.token_file(doctor.folder, READS_NODES, ExpirationTTL="1s")
    await asyncio.sleep(1.2)
    settings = in_nomad(locked_nomad.server.url, doctor.folder, nomad_token_file=str(file))
    said = await doctor.wrong("Nomad token", **settings)
    assert str(file) in said
    assert "expired" in said


async def test_deleted_nomad_token_is_named_with_its_file(doctor: Doctor, locked_nomad: LockedNomad) -> None:
    file = doctor.folder / "token"
    file.write_text(str(uuid.uuid4()))
    settings = in_nomad(locked_nomad.server.url, doctor.folder, nomad_token_file=str(file))
    assert f"Nomad does not know the token in {file}" in await doctor.wrong("Nomad token", **settings)


async def test_missing_right_in_nomad_is_named(doctor: Doctor, locked_nomad: LockedNomad) -> None:
    file = locked_nomad.token_file(doctor.folder, READS_NODES)
    settings = in_nomad(locked_nomad.server.url, doctor.folder, nomad_token_file=str(file))
    said = await doctor.wrong("Nomad", **settings)
    assert "Permission denied" in said
    assert "Check the token and its policy" in said


async def test_the_nomad_policy_that_comes_with_the_project_is_enough(
    doctor: Doctor, locked_nomad: LockedNomad
) -> None:
    policy = ROOT / "nomad_jobs" / "policies" / "miner.policy.hcl"
    file = locked_nomad.token_file(doctor.folder, policy.read_text().replace("{{ namespace }}", "default"))
    found = await doctor.look(**in_nomad(locked_nomad.server.url, doctor.folder, nomad_token_file=str(file)))
    assert "denied" not in json.dumps(found)
    assert next(each["fine"] for each in found if each["check"] == "nomad")


async def test_class_that_no_node_can_serve_is_named_with_the_missing_device(
    doctor: Doctor, gpu_node: tuple[NomadServer, GpuNodeAgent]
) -> None:
    slots = {"always_on.gpu.a6000": -1, "always_on.gpu.h100": 1}
    settings = in_nomad(gpu_node[0].url, doctor.folder, slots=slots)
    assert "ready nodes have 2 NVIDIA RTX A6000 49140 MiB" in await doctor.wrong("gpu.h100", **settings)
    found = {each["check"]: each for each in await doctor.look(**settings)}
    assert found["class always_on.gpu.a6000"]["fine"]
    assert "0 of 2 run, all that the nodes hold" in found["holders always_on.gpu.a6000"]["says"]
    assert found["gpu node gpu1"]["says"] == "ready with 2 NVIDIA RTX A6000"
    assert found["secrets"]["note"], "a horde of one machine is worth a note alone"


async def test_broken_device_is_named(doctor: Doctor, gpu_node: tuple[NomadServer, GpuNodeAgent]) -> None:
    server, node = gpu_node
    node.show([FakeGpu("GPU-a"), FakeGpu("GPU-b", healthy=False)])
    try:
        async with asyncio.timeout(60):
            while True:
                found = {e["check"]: e for e in await doctor.look(**in_nomad(server.url, doctor.folder))}
                if not found["gpu node gpu1"]["fine"]:
                    break
    finally:
        node.show(node.gpus)
    assert "not healthy: GPU-b" in found["gpu node gpu1"]["says"]


async def test_job_that_nomad_refuses_is_named_with_nomads_reason(
    doctor: Doctor, gpu_node: tuple[NomadServer, GpuNodeAgent]
) -> None:
    settings = in_nomad(gpu_node[0].url, doctor.folder, holder_variables={"priority": 500})
    assert "A holder's priority is 1 to 79" in await doctor.wrong("class", **settings)


async def test_class_whose_job_somebody_stopped_is_named_with_the_remedy(
    doctor: Doctor, gpu_node: tuple[NomadServer, GpuNodeAgent]
) -> None:
    settings = in_nomad(gpu_node[0].url, doctor.folder, slots={"always_on.test": 1})
    nomad = Nomad(ClusterAddress((gpu_node[0].url,)))
    row = CATALOGUE["always_on.test"]
    try:
        await HolderJobs(nomad, holder_job_file(None), {}).ensure(row)
        found = await doctor.look(**settings)
        assert next(each["fine"] for each in found if each["check"] == "class always_on.test")
        await nomad.stop(parent_id(row))
    finally:
        await nomad.close()
    assert f"nomad job start {parent_id(row)}" in await doctor.wrong("class", **settings)


async def test_unknown_setting_is_a_finding(doctor: Doctor) -> None:
    assert "no_such" in await doctor.wrong("settings", no_such=1)
