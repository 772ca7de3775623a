"""Which executor an attempt's miner takes: the one that Nomad started for it, with the devices it gave."""

from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from horde_agents.agents.miner.admission import Badge, Hold, Refuse, Serve
from horde_agents.agents.miner.nomad.holder_jobs import HolderJobs
from horde_agents.agents.miner.nomad.on_demand import OnDemandHolders
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.nomad import Nomad
from horde_agents.clients.nomad_rows import Allocation, Child
from horde_agents.jobs.events import HordeFailed
from horde_agents.protocol.miner_executor import HordeExecutorHello
from tests.contract.nomad.conftest import script_job
from tests.fixtures.waiting import eventually
from tools.nomad_specs import spec_file

pytestmark = pytest.mark.usefixtures("all_gpus")


@dataclass
class OpenAttempts:
    """These are open."""

    uuids: set[str] = field(default_factory=set)

    async def failed(self, uuid: str, event: HordeFailed) -> None:
        del uuid, event

    def is_open(self, uuid: str) -> bool:
        return uuid in self.uuids

    def has_executor(self, uuid: str) -> bool:
        return uuid in self.uuids


@dataclass
class Scene:
    """A holder that runs for an attempt, and who judges."""

    holders: OnDemandHolders
    child: Child
    allocation: Allocation
    uuid: str

    def hello(self, *devices: str, meant_for: str = "") -> HordeExecutorHello:
        return HordeExecutorHello(
            slot_id="gpu1:any",
            executor_class="spin_up-4min.gpu-24gb",
            pid=1,
            devices=list(devices) or list(self.allocation.devices),
            meant_for=meant_for or self.uuid,
        )


@pytest.fixture
async def scene(nomad: Nomad) -> Scene:
    job = script_job("holder-s", gpus=1)
    job["ParameterizedJob"]["MetaOptional"].append("attempt")
    await nomad.register(job)
    uuid = str(uuid4())
    child = await nomad.dispatch("holder-s", uuid, {"horde": "h", "attempt": uuid})

    async def placed() -> Allocation | None:
        rows = await nomad.allocations_of(child.job_id)
        return await nomad.allocation(rows[0].allocation_id) if rows else None

    allocation = await eventually(placed)
    jobs = HolderJobs(nomad, spec_file("holder"), {})
    return Scene(OnDemandHolders(nomad, jobs, "h", OpenAttempts({uuid})), child, allocation, uuid)


async def test_executor_of_the_attempts_own_allocation_serves(scene: Scene) -> None:
    badge = Badge(allocation_id=scene.allocation.allocation_id)
    assert await scene.holders.verdict(badge, scene.hello()) == Serve()


async def test_holder_that_reports_other_devices_than_nomad_gave_is_refused(scene: Scene) -> None:
    badge = Badge(allocation_id=scene.allocation.allocation_id)
    verdict = await scene.holders.verdict(badge, scene.hello("GPU-others"))
    assert verdict == Refuse(f"it reports devices GPU-others; Nomad gave it {scene.allocation.devices[0]}")


async def test_allocation_of_another_holder_is_refused(scene: Scene, nomad: Nomad) -> None:
    other = await nomad.dispatch("holder-s", "other", {"horde": "h", "attempt": str(uuid4())})
    rows = await eventually(lambda: nomad.allocations_of(other.job_id))
    for allocation_id in (rows[0].allocation_id, str(uuid4())):
        verdict = await scene.holders.verdict(Badge(allocation_id=allocation_id), scene.hello())
        assert verdict == Refuse(f"allocation {allocation_id} was not started for attempt {scene.uuid}")


async def test_attempt_that_is_over_needs_no_executor(scene: Scene) -> None:
    gone = str(uuid4())
    badge = Badge(allocation_id=scene.allocation.allocation_id)
    verdict = await scene.holders.verdict(badge, scene.hello(meant_for=gone))
    assert isinstance(verdict, Refuse)
    assert "not open here" in verdict.why


async def test_nomad_that_is_away_holds_the_executor(scene: Scene) -> None:
    away = Nomad(ClusterAddress(("http://127.0.0.1:1",)))
    scene.holders.nomad = away
    verdict = await scene.holders.verdict(Badge(allocation_id="a"), scene.hello())
    assert isinstance(verdict, Hold)
    await away.close()
