"""Classes that are not kept warm: a holder for each attempt, and none without one."""

import pytest

from horde_agents.clients.nomad_rows import Child
from horde_agents.testing.server_process import free_ports
from tests.fixtures.waiting import eventually
from tests.integration.nomad.conftest import A6000, DECLINED, FAILED, ON_DEMAND, Horde, kill

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400), pytest.mark.usefixtures("all_gpus")]


async def holders(horde: Horde) -> list[Child]:
    """The on-demand holders that have not ended."""
    children = await horde.nomad.children("holder-s")
    return [child for child in children if not child.stopped and child.status != "dead"]


async def none_left(horde: Horde) -> None:
    """Wait until no on-demand holder is left."""

    async def holds() -> bool:
        return not await holders(horde)

    await eventually(holds)


async def test_job_gets_a_holder_of_its_own_that_ends_with_it(horde: Horde) -> None:
    async with horde.miner({ON_DEMAND: 2}) as miner, miner.validator() as peer:
        assert peer.manifest["manifest"] == {ON_DEMAND: 2}
        assert await horde.nomad.children("holder-") == []
        talk = await horde.accepted(miner, peer, ON_DEMAND)
        (child,) = await holders(horde)
        assert child.meta["attempt"] == talk.uuid
        assert talk.uuid in child.job_id
        await talk.begin("echo on demand")
        assert await talk.output() == "on demand\n"
        await none_left(horde)


async def test_offer_without_a_device_is_declined_at_once_with_nomads_reason(horde: Horde) -> None:
    async with horde.miner({A6000: -1, ON_DEMAND: 1}) as miner:
        await horde.until_kept(A6000, 4)
        async with miner.validator() as peer:
            for _ in range(2):  # the seat is free again
                declined = await (await horde.offered(miner, peer, ON_DEMAND)).last(DECLINED)
                assert declined["reason"] == "busy"
                assert "Nomad has no place for it" in declined["message"]
                assert "devices" in declined["message"]
        await none_left(horde)


async def test_cancelled_attempt_ends_its_holder(horde: Horde) -> None:
    async with horde.miner({ON_DEMAND: 1}) as miner, miner.validator() as peer:
        talk = await horde.accepted(miner, peer, ON_DEMAND)
        await talk.begin("sleep 600")
        await talk.cancel()
        await talk.last(*FAILED)
        await none_left(horde)
        again = await horde.accepted(miner, peer, ON_DEMAND)
        await again.cancel()
        await again.last(*FAILED)
        await none_left(horde)


async def test_attempt_whose_holder_crashes_fails_at_once(horde: Horde) -> None:
    async with horde.miner({ON_DEMAND: 1}) as miner, miner.validator() as peer:
        talk = await horde.accepted(miner, peer, ON_DEMAND)
        await talk.begin("sleep 600")
        ((_, allocation),) = await horde.living()
        kill(allocation.allocation_id)
        failed = await talk.last(*FAILED)
        assert "holder failed" in failed["message"]


async def test_holder_that_cannot_start_fails_its_attempt(horde: Horde) -> None:
    async with (
        horde.miner({ON_DEMAND: 1}, holder={"command": "/bin/false"}) as miner,
        miner.validator() as peer,
    ):
        talk = await horde.offered(miner, peer, ON_DEMAND)
        await talk.last("V0AcceptJobRequest")
        assert "holder failed" in (await talk.last(*FAILED))["message"]


async def test_job_goes_on_while_its_miner_is_restarted(horde: Horde) -> None:
    (port,) = free_ports(1)
    async with horde.miner({ON_DEMAND: 1}, executor_port=port) as miner, miner.validator() as peer:
        talk = await horde.accepted(miner, peer, ON_DEMAND)
        await talk.begin("sleep 6; echo survived")
    assert len(await holders(horde)) == 1
    async with horde.miner({ON_DEMAND: 1}, executor_port=port) as miner, miner.validator() as peer:
        again = await horde.offered(miner, peer, ON_DEMAND, talk.uuid)
        assert await again.output() == "survived\n"
        await none_left(horde)


async def test_holder_whose_attempt_nobody_knows_is_ended(horde: Horde) -> None:
    (port,) = free_ports(1)
    async with horde.miner({ON_DEMAND: 1}, executor_port=port) as miner, miner.validator() as peer:
        talk = await horde.accepted(miner, peer, ON_DEMAND)
        (child,) = await holders(horde)
        await talk.cancel()
        await talk.last(*FAILED)
        await none_left(horde)
    # what a miner has dispatched that was killed before it had stored the attempt
    orphan = horde.place(child, attempt="11111111-1111-4111-8111-111111111111")
    await horde.nomad.dispatch(child.parent_id, "orphan", orphan)
    async with horde.miner({ON_DEMAND: 1}, executor_port=port):
        await none_left(horde)  # stopped by the miner, or refused at its door, whichever comes first
