"""Several validators at one slot: who is declined for its share, and whether anybody can check it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from horde_agents.protocol.signing import KeypairSigner, from_hex, verify
from horde_agents.protocol.validator_miner import render_signed
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobFinished, read_payload, signed_text
from horde_agents.receipts.usage import usage_by_receipts
from horde_agents.scoring.share_claims import Known, read_claim, why_unfair
from horde_agents.store import facts
from horde_agents.store.engine import open_store
from tests.integration.miner.conftest import (
    CLASS,
    OTHER,
    VALIDATOR,
    Miner,
    Peer,
    new_uuid,
    offer,
    pages,
    receipt_frame,
    serving,
    signed_offer,
    started,
)
from tests.integration.miner.test_attempts import finished, run_to_done

POOL = (Fraction(1, 20), Fraction(1, 100))


@asynccontextmanager
async def holding(
    miner: Miner, validator: Peer, signer: KeypairSigner, for_s: float = 1.2
) -> AsyncIterator[str]:
    """A validator has the slot in the block, and ends its job with the block."""
    uuid = new_uuid()
    async with miner.executor() as executor:
        began = datetime.now(UTC)
        await validator.send(signed_offer(miner, uuid, signer))
        while (await validator.frame())["message_type"] != "V0AcceptJobRequest":
            pass  # a receipt of before is acknowledged
        yield uuid
        await asyncio.sleep(for_s)
        await run_to_done(validator, executor, uuid)
        await executor.say(**finished(uuid))
        await executor.expect("HordeAck")
        await validator.expect("V0JobFinishedRequest")
        done = JobFinished(
            job_uuid=uuid, miner_hotkey=miner.hotkey, validator_hotkey=signer.hotkey,
            timestamp=datetime.now(UTC), time_started=began,
            time_took_us=round((datetime.now(UTC) - began).total_seconds() * 1e6),
            score_str="10.000000", block_numbers=[],
        )  # fmt: skip
        await validator.say(**receipt_frame(done, "V0JobFinishedReceiptRequest", signer))


async def asked(miner: Miner, peer: Peer, signer: KeypairSigner) -> dict[str, Any]:
    """Ask for the slot; the answer."""
    await peer.send(signed_offer(miner, new_uuid(), signer))
    while (frame := await peer.frame())["message_type"] not in {"V0AcceptJobRequest", "V0DeclineJobRequest"}:
        pass
    return frame


async def declined_for_share(miner: Miner, ours: Peer, other: Peer) -> dict[str, Any]:
    """We had the slot while the other asked for it; now it is free, and we ask again."""
    async with holding(miner, ours, VALIDATOR):
        assert (await asked(miner, other, OTHER))["message_type"] == "V0DeclineJobRequest"
    async with miner.executor():
        return await asked(miner, ours, VALIDATOR)


async def test_one_that_had_more_than_its_share_gives_way_to_one_that_was_turned_away(miner: Miner) -> None:
    async with miner.validator(is_ours=True) as ours, miner.validator(OTHER) as other:
        declined = await declined_for_share(miner, ours, other)
        assert (declined["message_type"], declined["reason"]) == ("V0DeclineJobRequest", "busy")
        assert declined["context"]["reason"] == "share"
        async with miner.executor():
            assert (await asked(miner, other, OTHER))["message_type"] == "V0AcceptJobRequest"


async def test_a_stock_validator_hears_of_it_as_busy_and_nothing_else(miner: Miner) -> None:
    async with miner.validator() as ours, miner.validator(OTHER) as other:
        declined = await declined_for_share(miner, ours, other)
    assert declined["reason"] == "busy"
    assert declined["context"] is None


async def test_the_numbers_can_be_checked_against_receipts_metagraph_and_the_others_signature(
    miner: Miner,
) -> None:
    async with miner.validator(is_ours=True) as ours, miner.validator(OTHER) as other:
        declined = await declined_for_share(miner, ours, other)
        payloads = [read_payload(line["payload"]) for line in await pages(miner)]
    claim = read_claim(declined["context"])
    assert claim is not None
    now = datetime.now(UTC)
    published_s = usage_by_receipts(payloads, CLASS, now, claim.window_s)
    assert published_s == {VALIDATOR.hotkey: claim.usage_s[VALIDATOR.hotkey]}

    def is_signed(receipt: Receipt) -> bool:
        signature = from_hex(receipt.validator_signature)
        return verify(receipt.payload.validator_hotkey, signed_text(receipt.payload), signature)

    known = Known(
        VALIDATOR.hotkey, miner.hotkey, CLASS, published_s[VALIDATOR.hotkey], published_s, {}, POOL,
        frozenset(), now,
    )  # fmt: skip
    assert why_unfair(claim, known, is_signed) is None
    (wish,) = claim.asked.values()
    forged = claim.model_copy(
        update={"asked": {OTHER.hotkey: wish.model_copy(update={"validator_signature": "0x" + "00" * 64})}}
    )
    assert "not signed" in (why_unfair(forged, known, is_signed) or "")


async def test_a_synthetic_job_is_not_declined_for_share(miner: Miner) -> None:
    async with miner.validator(is_ours=True) as ours, miner.validator(OTHER) as other:
        assert (await declined_for_share(miner, ours, other))["message_type"] == "V0DeclineJobRequest"
        async with miner.executor():
            receipt = started(miner, new_uuid(), is_organic=False)
            await ours.send(render_signed(offer(receipt), VALIDATOR))
            while (frame := await ours.frame())["message_type"] == "HordeReceiptStored":
                pass
    assert frame["message_type"] == "V0AcceptJobRequest"


async def test_no_slot_is_kept_for_a_synthetic_job(miner: Miner) -> None:
    async with miner.validator(is_ours=True) as ours, miner.validator(OTHER) as other:
        async with holding(miner, ours, VALIDATOR):
            receipt = started(miner, new_uuid(), OTHER, is_organic=False)
            await other.send(render_signed(offer(receipt, OTHER), OTHER))
            await other.expect("V0DeclineJobRequest")
        async with miner.executor():
            assert (await asked(miner, ours, VALIDATOR))["message_type"] == "V0AcceptJobRequest"


async def test_idle_capacity_is_lent_at_once_and_again(miner: Miner) -> None:
    async with miner.validator(is_ours=True) as ours:
        for _ in range(3):
            async with holding(miner, ours, VALIDATOR, for_s=0.4):
                pass


async def test_a_slot_is_kept_no_longer_than_patience_for_one_that_does_not_come(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, share_patience_s=4) as miner,
        miner.validator(is_ours=True) as ours,
        miner.validator(OTHER) as other,
    ):
        declined = await declined_for_share(miner, ours, other)
        assert declined["message_type"] == "V0DeclineJobRequest"
        async with miner.executor():
            await asyncio.sleep(4.1)
            assert (await asked(miner, ours, VALIDATOR))["message_type"] == "V0AcceptJobRequest"


async def test_stakes_outlive_a_restart_without_the_chain(tmp_path: Path) -> None:
    stakes = {VALIDATOR.hotkey: 90, OTHER.hotkey: 10}
    async with serving(tmp_path) as miner:
        database_url = miner.settings.database_url
    async with open_store(database_url) as store:
        await store.writer.run(lambda connection: facts.put(connection, "validators", json.dumps(stakes)))
    async with (
        serving(tmp_path) as miner,
        miner.validator(is_ours=True) as ours,
        miner.validator(OTHER) as other,
    ):
        declined = await declined_for_share(miner, ours, other)
    assert declined["context"]["shares"] == {VALIDATOR.hotkey: "9/10", OTHER.hotkey: "1/10"}


async def test_a_validator_with_little_stake_gets_in_beside_one_with_nearly_all(tmp_path: Path) -> None:
    stakes = {VALIDATOR.hotkey: 10**15, OTHER.hotkey: 10**9}
    async with serving(tmp_path) as miner:
        database_url = miner.settings.database_url
    async with open_store(database_url) as store:
        await store.writer.run(lambda connection: facts.put(connection, "validators", json.dumps(stakes)))
    async with (
        serving(tmp_path) as miner,
        miner.validator(is_ours=True) as ours,
        miner.validator(OTHER) as other,
    ):
        assert (await declined_for_share(miner, ours, other))["context"]["reason"] == "share"
        async with miner.executor():
            assert (await asked(miner, other, OTHER))["message_type"] == "V0AcceptJobRequest"


async def test_what_was_had_before_a_restart_still_counts(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as miner,
        miner.validator(is_ours=True) as ours,
        holding(miner, ours, VALIDATOR, for_s=2.2),
    ):
        pass
    async with (
        serving(tmp_path) as miner,
        miner.validator(is_ours=True) as ours,
        miner.validator(OTHER) as other,
    ):
        declined = await declined_for_share(miner, ours, other)
        assert declined["context"]["usage_s"][VALIDATOR.hotkey] >= 3
        async with miner.http.get(f"http://{miner.base}/shares") as reply:
            shown = await reply.json()
    assert shown["classes"][CLASS]["usage_s"] == declined["context"]["usage_s"]
