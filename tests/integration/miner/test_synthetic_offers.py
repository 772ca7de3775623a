"""A miner treats a synthetic job like any other, but that its payload goes out with those of its batch."""

from typing import Any

import pytest

from horde_agents.protocol.validator_miner import render_signed
from tests.fixtures.waiting import eventually
from tests.integration.miner.conftest import VALIDATOR, Miner, new_uuid, offer, pages, started
from tests.integration.miner.test_attempts import finished, run_to_done


@pytest.mark.parametrize("is_organic", [True, False])
async def test_an_offer_is_taken_and_run_whatever_it_is_for(miner: Miner, is_organic: bool) -> None:
    uuid = new_uuid()
    receipt = started(miner, uuid, is_organic=is_organic)
    async with miner.executor() as executor, miner.validator() as validator:
        await validator.send(render_signed(offer(receipt), VALIDATOR))
        await validator.expect("V0AcceptJobRequest")
        await run_to_done(validator, executor, uuid)
        await executor.say(**finished(uuid))
        assert (await validator.expect("V0JobFinishedRequest"))["docker_process_stdout"] == "done\n"

    async def published() -> list[dict[str, Any]]:
        return [line for line in await pages(miner) if line["payload"]["job_uuid"] == uuid]

    [line, *_] = await eventually(published)
    assert line["payload"]["is_organic"] is is_organic
    assert line["miner_signature"]
