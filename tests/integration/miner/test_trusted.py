"""A trusted miner: it serves its own validator alone, under a name without a key, and keeps no receipts."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.protocol.frames import render
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY
from horde_agents.protocol.validator_miner import render_signed, sign_auth
from horde_agents.receipts.payloads import JobFinished
from tests.integration.miner.conftest import (
    OTHER,
    VALIDATOR,
    Miner,
    new_uuid,
    offer,
    pages,
    receipt_frame,
    serving,
    started,
)


@pytest.fixture
async def trusted(tmp_path: Path) -> AsyncIterator[Miner]:
    async with serving(tmp_path, trusted_by=VALIDATOR.hotkey, allowed_validators=[]) as running:
        yield running


async def test_its_own_validators_job_runs_and_leaves_no_receipt(trusted: Miner) -> None:
    async with trusted.executor() as executor, trusted.validator(is_ours=True) as validator:
        uuid = new_uuid()
        receipt = started(trusted, uuid, miner_hotkey=TRUSTED_MINER_HOTKEY)
        await validator.send(render_signed(offer(receipt), VALIDATOR))
        await validator.expect("V0AcceptJobRequest")
        await executor.expect("V0InitialJobRequest")
        finished = JobFinished(
            job_uuid=uuid,
            miner_hotkey=TRUSTED_MINER_HOTKEY,
            validator_hotkey=VALIDATOR.hotkey,
            timestamp=receipt.timestamp,
            time_started=receipt.timestamp,
            time_took_us=1,
            score_str="1.000000",
            block_numbers=[],
        )
        await validator.say(**receipt_frame(finished, "V0JobFinishedReceiptRequest"))
        await validator.expect("HordeReceiptStored")
    assert await pages(trusted) == []


async def test_every_other_validator_is_refused(trusted: Miner) -> None:
    async with trusted.raw(OTHER.hotkey) as peer:
        auth = sign_auth(OTHER, TRUSTED_MINER_HOTKEY, int(time.time()), [])
        await peer.send(render(auth))
        assert "Unknown validator" in (await peer.expect("GenericError"))["details"]


async def test_it_does_not_answer_to_its_own_hotkey(trusted: Miner) -> None:
    async with trusted.raw() as peer:
        await peer.send(render(sign_auth(VALIDATOR, trusted.hotkey, int(time.time()), [])))
        assert "wrong miner hotkey" in (await peer.expect("GenericError"))["details"]


async def test_a_miner_of_the_subnet_does_not_answer_to_the_trusted_name(miner: Miner) -> None:
    async with miner.raw() as peer:
        await peer.send(render(sign_auth(VALIDATOR, TRUSTED_MINER_HOTKEY, int(time.time()), [])))
        assert "wrong miner hotkey" in (await peer.expect("GenericError"))["details"]


@pytest.mark.parametrize("more", [{"chain_url": "ws://127.0.0.1:1"}, {"allowed_validators": ["5F"]}])
def test_a_trusted_miner_is_in_no_metagraph_and_serves_no_other(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="trusted_by"):
        MinerSettings.model_validate(
            {"hotkey_file": "k", "data_dir": "d", "database_url": "sqlite:///m", "trusted_by": "5G", **more}
        )
