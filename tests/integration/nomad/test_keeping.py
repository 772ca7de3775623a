"""Holders on a real Nomad: as many as wanted, whatever ends them."""

from collections.abc import Callable

import pytest

from horde_agents.placement.records import PoolWish
from tests.fixtures.waiting import eventually
from tests.integration.nomad.conftest import A6000, CPU, DECLINED, FAILED, Horde, kill
from tools.nomad_specs import spec_file

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]
Logged = Callable[[str], bool]
H100 = "always_on.gpu.h100"
RTX4090 = "always_on.gpu.rtx4090"


async def test_holders_are_kept_by_count_and_replaced_when_they_end(horde: Horde) -> None:
    async with horde.miner({CPU: 2}) as miner:
        await horde.until_served(miner, CPU, 2)
        async with miner.validator() as peer:
            talk = await horde.accepted(miner, peer, CPU)
            await talk.begin("echo in a container")
            assert await talk.output() == "in a container\n"
        (stopped, _), (_, other) = before = await horde.living()
        horde.operator("job", "stop", "-detach", stopped.job_id)
        horde.operator("alloc", "stop", "-detach", other.allocation_id)
        await horde.until_replaced(before, 2)
        before = await horde.living()
        kill(before[0][1].allocation_id)
        await horde.until_replaced(before[:1], 2)
        assert sorted(child.meta["generation"] for child, _ in await horde.living()) == ["2", "3"]
        await horde.until_served(miner, CPU, 2)


async def test_holder_is_recycled_after_its_jobs(horde: Horde) -> None:
    async with horde.miner({CPU: 1}, holder={"recycle_jobs": 1}) as miner:
        await horde.until_served(miner, CPU, 1)
        before = await horde.living()
        async with miner.validator() as peer:
            talk = await horde.accepted(miner, peer, CPU)
            await talk.begin("true")
            await talk.output()
        await horde.until_replaced(before, 1)
        ended = await horde.nomad.allocation(before[0][1].allocation_id)
        assert ended is not None
        assert (ended.client_status, ended.exit_code, ended.desired_status) == ("complete", 0, "run")


async def test_operator_wishes_fewer_and_more(horde: Horde) -> None:
    async with horde.miner({CPU: 1}):
        await horde.until_kept(CPU, 1)
        await horde.wish(CPU, PoolWish(2))
        await horde.until_kept(CPU, 2)
        await horde.wish(CPU, PoolWish(0))
        await horde.until_kept(CPU, 0)
        await horde.wish(CPU, PoolWish())
        await horde.until_kept(CPU, 1)
        report = (await horde.state()).pool_reports[CPU]
        assert (report.wanted, report.says) == (1, "")


@pytest.mark.usefixtures("all_gpus")
async def test_fifth_holder_waits_for_a_device_and_the_fifth_job_is_declined_busy(
    horde: Horde, logged: Logged
) -> None:
    async with horde.miner({A6000: 5}) as miner:
        slots = await horde.until_kept(A6000, 4)
        listed = [gpu.uuid for node in horde.stage.nodes.values() for gpu in node.gpus]
        assert sorted(device for slot in slots for device in slot.devices) == sorted(listed)

        async def waits() -> bool:
            report = (await horde.state()).pool_reports.get(A6000)
            return report is not None and (report.wanted, report.holders, report.waiting) == (5, 4, 1)

        await eventually(waits)
        assert "devices" in (await horde.state()).pool_reports[A6000].says
        assert logged("no place for holders of a class")
        await horde.until_served(miner, A6000, 4)
        async with miner.validator() as peer:
            talks = [await horde.accepted(miner, peer, A6000) for _ in range(4)]
            declined = await (await horde.offered(miner, peer, A6000)).last(DECLINED)
            assert declined["reason"] == "busy"
            for talk in talks:
                await talk.cancel()
                await talk.last(*FAILED)
        before = await horde.living()
        horde.operator("job", "stop", "-detach", before[0][0].job_id)
        await horde.until_replaced(before[:1], 4)


@pytest.mark.usefixtures("all_gpus")
async def test_all_devices_are_kept_when_minus_one_is_wanted(horde: Horde) -> None:
    async with horde.miner({A6000: -1}):
        await horde.until_kept(A6000, 4)


async def test_class_that_no_node_serves_is_named_and_others_go_on(horde: Horde, logged: Logged) -> None:
    async with horde.miner({H100: 1, RTX4090: -1, CPU: 1}) as miner:
        await horde.until_kept(CPU, 1)

        async def named() -> bool:
            return {H100, RTX4090} <= {n for n, r in (await horde.state()).pool_reports.items() if r.says}

        await eventually(named)
        reports = (await horde.state()).pool_reports
        assert "missing devices" in reports[H100].says
        assert "no node has a device" in reports[RTX4090].says
        assert logged(H100)
        async with miner.validator() as peer:
            declined = await (await horde.offered(miner, peer, H100)).last(DECLINED)
            assert declined["reason"] == "busy"
            assert "no executor of class" in declined["message"]


async def test_job_that_nomad_refuses_is_named_and_other_classes_go_on(horde: Horde, logged: Logged) -> None:
    file = horde.folder / "holder.nomad.hcl"
    shipped = spec_file("holder").read_text()
    file.write_text(shipped.replace('value     = "linux"', 'value     = var.gpus > 0 ? "" : "linux"'))
    async with horde.miner({A6000: 1, CPU: 1}, holder_job_file=file):
        await horde.until_kept(CPU, 1)

        async def named() -> bool:
            report = (await horde.state()).pool_reports.get(A6000)
            return report is not None and "constraint" in report.says.lower()

        await eventually(named)
        assert logged("Nomad refuses the holders of a class")


async def test_two_miners_keep_no_more_than_one(horde: Horde) -> None:
    async with horde.miner({CPU: 2}, "first"), horde.miner({CPU: 2}, "second"):
        await horde.until_kept(CPU, 2)
        assert len(await horde.nomad.children("holder-")) == 2


async def test_dispatch_of_a_keeper_that_was_killed_is_not_made_again(horde: Horde) -> None:
    async with horde.miner({CPU: 1}):
        await horde.until_kept(CPU, 1)
        (child,) = await horde.nomad.children("holder-")
    token = f"{horde.name}/{CPU}/0/1"
    assert (await horde.nomad.dispatch(child.parent_id, token, horde.place(child))).job_id == child.job_id
    async with horde.miner({CPU: 1}, "another"):
        await horde.until_kept(CPU, 1)
        assert [row.job_id for row in await horde.nomad.children("holder-")] == [child.job_id]


async def test_holder_that_fails_at_its_start_is_replaced_more_and_more_slowly(
    horde: Horde, logged: Logged
) -> None:
    async with horde.miner({CPU: 1}, holder={"command": "/bin/false"}):

        async def tried_again() -> bool:
            return len(await horde.nomad.children("holder-")) >= 4

        await eventually(tried_again)
        assert logged("holder failed")
        assert len(await horde.nomad.children("holder-")) <= 5


async def test_holder_dispatched_by_hand_with_garbage_is_ended(horde: Horde, logged: Logged) -> None:
    async with horde.miner({CPU: 1}):
        await horde.until_kept(CPU, 1)
        (child,) = await horde.nomad.children("holder-")
        garbage = horde.place(child, index="9" * 5000, generation="first")
        by_hand = await horde.nomad.dispatch(child.parent_id, "by hand", garbage)

        async def ended() -> bool:
            job = await horde.nomad.job(by_hand.job_id)
            return job is not None and bool(job["Stop"])

        await eventually(ended)
        assert logged("its meta names no place")
        await horde.until_kept(CPU, 1)
