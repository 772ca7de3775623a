"""An executor's heartbeat becomes a progress receipt on a page of its own, and an excuse."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from horde_agents.protocol.signing import from_hex, verify
from horde_agents.receipts.payloads import (
    JobAccepted,
    JobProgress,
    payload_object,
    read_progress,
    signed_text,
)
from tests.fixtures.waiting import eventually
from tests.integration.miner.conftest import (
    OTHER,
    VALIDATOR,
    Miner,
    Peer,
    new_uuid,
    pages,
    receipt_frame,
    signed_offer,
)


async def begin(miner: Miner, validator: Peer, executor: Peer) -> str:
    """Up to an executor that is ready."""
    uuid = new_uuid()
    await validator.send(signed_offer(miner, uuid))
    await validator.expect("V0AcceptJobRequest")
    await executor.expect("V0InitialJobRequest")
    await executor.say(message_type="V0ExecutorReadyRequest", job_uuid=uuid)
    await validator.expect("V0ExecutorReadyRequest")
    return uuid


async def beat(executor: Peer, uuid: str) -> None:
    await executor.say(message_type="HordeHeartbeat", job_uuid=uuid, stage="execution", elapsed_s=10**6)


def progress(miner: Miner, uuid: str, sequence: int = 1, **change: Any) -> dict[str, Any]:
    known = {
        "job_uuid": uuid,
        "miner_hotkey": miner.hotkey,
        "validator_hotkey": VALIDATOR.hotkey,
        "timestamp": datetime.now(UTC),
        "sequence": sequence,
        "run_us": 5_000_000,
    }
    payload = JobProgress(**{**known, **change})
    signature = VALIDATOR.sign(signed_text(payload)).hex()
    return {
        "message_type": "HordeProgressReceipt",
        "payload": payload_object(payload),
        "signature": f"0x{signature}",
    }


async def progress_page(miner: Miner) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    now = int(time.time()) // 300
    for page in (now - 1, now):
        async with miner.http.get(f"http://{miner.base}/receipts/progress/{page}.jsonl") as reply:
            if reply.status == 200:
                found += [json.loads(line) for line in (await reply.text()).splitlines()]
    return found


async def test_a_heartbeat_reaches_the_validator_with_the_time_since_the_executor_was_ready(
    miner: Miner,
) -> None:
    async with miner.executor() as executor, miner.validator(is_ours=True) as validator:
        uuid = await begin(miner, validator, executor)
        await beat(executor, uuid)
        told = await validator.expect("HordeProgress")
        assert told["job_uuid"] == uuid
        assert 0 <= told["run_us"] < 60_000_000  # not what the executor says


async def test_a_progress_receipt_is_countersigned_and_published_apart_from_the_wires_pages(
    miner: Miner,
) -> None:
    async with miner.executor() as executor, miner.validator(is_ours=True) as validator:
        uuid = await begin(miner, validator, executor)
        await validator.say(**progress(miner, uuid))
        stored = await validator.expect("HordeReceiptStored")
        assert (stored["receipt_type"], stored["sequence"]) == ("JobProgressReceipt", 1)
        (line,) = await progress_page(miner)
        text = signed_text(read_progress(line["payload"]))
        assert verify(miner.hotkey, text, from_hex(line["miner_signature"]))
        assert verify(VALIDATOR.hotkey, text, from_hex(line["validator_signature"]))
        assert {each["payload"]["receipt_type"] for each in await pages(miner)} == {"JobStartedReceipt"}


async def test_a_forged_progress_receipt_is_refused(miner: Miner) -> None:
    async with miner.executor() as executor, miner.validator(is_ours=True) as validator:
        uuid = await begin(miner, validator, executor)
        forged = progress(miner, uuid)
        forged["payload"]["run_us"] = 10**12
        await validator.say(**forged)
        assert "not signed" in (await validator.expect("GenericError"))["details"]
        await validator.say(**progress(miner, uuid, validator_hotkey=OTHER.hotkey))
        assert "names another" in (await validator.expect("GenericError"))["details"]
        assert await progress_page(miner) == []


async def test_a_stock_validator_hears_no_heartbeat(miner: Miner) -> None:
    async with miner.executor() as executor, miner.validator() as validator:
        uuid = await begin(miner, validator, executor)
        await beat(executor, uuid)
        await executor.say(message_type="V0VolumesReadyRequest", job_uuid=uuid)
        await validator.expect("V0VolumesReadyRequest")


async def declined(miner: Miner, *, is_ours: bool) -> list[str]:
    """The types of receipts that another validator is shown while VALIDATOR's job runs."""
    async with miner.validator(OTHER, is_ours=is_ours) as other:
        await other.send(signed_offer(miner, new_uuid(), OTHER))
        shown = (await other.expect("V0DeclineJobRequest"))["receipts"]
        return sorted(receipt["payload"]["receipt_type"] for receipt in shown)


async def test_a_decline_shows_all_receipts_to_ours_and_started_ones_alone_to_stock(miner: Miner) -> None:
    async with miner.executor() as executor, miner.validator(is_ours=True) as validator:
        uuid = await begin(miner, validator, executor)
        now = datetime.now(UTC)
        names = {"job_uuid": uuid, "miner_hotkey": miner.hotkey, "validator_hotkey": VALIDATOR.hotkey}
        accepted = JobAccepted(**names, timestamp=now, time_accepted=now, ttl=60)
        await validator.say(**receipt_frame(accepted, "V0JobAcceptedReceiptRequest"))
        await validator.expect("HordeReceiptStored")
        for sequence in (1, 2):
            await validator.say(**progress(miner, uuid, sequence))
            await validator.expect("HordeReceiptStored")
        ours = await declined(miner, is_ours=True)
        assert ours == ["JobAcceptedReceipt", "JobProgressReceipt", "JobStartedReceipt"]
        assert await declined(miner, is_ours=False) == ["JobStartedReceipt"]


async def test_progress_pages_are_served_in_parts(miner: Miner) -> None:
    async with miner.executor() as executor, miner.validator(is_ours=True) as validator:
        uuid = await begin(miner, validator, executor)
        await validator.say(**progress(miner, uuid))
        await validator.expect("HordeReceiptStored")

        async def part() -> str | None:
            for page in (int(time.time()) // 300, int(time.time()) // 300 - 1):
                url = f"http://{miner.base}/receipts/progress/{page}.jsonl"
                async with miner.http.get(url, headers={"Range": "bytes=0-9"}) as reply:
                    if reply.status == 206:
                        return reply.headers["Content-Range"]
            return None

        assert (await eventually(part)).startswith("bytes 0-9/")
