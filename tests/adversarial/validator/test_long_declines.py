"""Declines that show as many receipts as are looked at: users' jobs go on while they are checked."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

from horde_agents.agents.validator.excuses import believed
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.shares import ShareDecline
from horde_agents.agents.validator.synthetic.excusing import Excusing
from horde_agents.protocol.signing import KeypairSigner, to_hex
from horde_agents.protocol.validator_miner import SignedReceipt
from horde_agents.receipts.excuses import Bad
from horde_agents.receipts.payloads import JobStarted, payload_object, signed_text
from horde_agents.runtime.clock import now
from tests.fixtures.receipt_lines import CLASS, started
from tests.fixtures.validator import Stage

MINER, RICH, LIAR = (KeypairSigner.from_uri(f"//{name}") for name in ("Miner", "Rich", "Liar"))
MANY = 256
Answer = TypeVar("Answer")


def _shown(of: JobStarted, signer: KeypairSigner) -> SignedReceipt:
    signature = to_hex(signer.sign(signed_text(of)))
    return SignedReceipt(payload=payload_object(of), validator_signature=signature, miner_signature=signature)


def _job(**change: Any) -> JobStarted:
    return started(MINER, RICH, timestamp=now() - timedelta(seconds=2), **change)


async def _turns(work: Awaitable[Answer]) -> tuple[Answer, int]:
    """What came of it, and how often everything else had its turn meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        return await work, turns
    finally:
        counting.cancel()


async def _parts(stage: Stage) -> Parts:
    parts = (await stage.start()).parts
    parts.directory.replace([], {RICH.hotkey: 10**15, stage.signer.hotkey: 10**15})
    return parts


async def test_a_users_decline_is_checked_a_few_receipts_at_a_time(stage: Stage) -> None:
    parts, real = await _parts(stage), _job()
    shown = [_shown(real, LIAR), *(_shown(_job(), LIAR) for _ in range(MANY - 2)), _shown(real, RICH)]
    offer = started(MINER, stage.signer)
    found, turns = await _turns(believed(parts, offer, shown, 1.0))
    assert [receipt.payload for receipt in found] == [real]
    assert turns >= MANY // 16


async def test_no_more_receipts_are_checked_than_a_decline_may_show(stage: Stage) -> None:
    parts = await _parts(stage)
    shown = [*(_shown(_job(), LIAR) for _ in range(MANY)), _shown(_job(), RICH)]
    assert await believed(parts, started(MINER, stage.signer), shown, 1.0) == []


async def test_a_decline_of_a_batch_is_checked_a_few_receipts_at_a_time(stage: Stage) -> None:
    parts = await _parts(stage)
    shown = [_shown(_job(), LIAR) for _ in range(MANY)]
    excusing = Excusing(parts, {MINER.hotkey: {CLASS: 1}}, 1)
    judged, turns = await _turns(excusing.judge_decline(started(MINER, stage.signer), shown))
    assert judged == Bad("a receipt lacks one of its signatures")
    assert turns >= MANY // 16


async def test_a_decline_for_share_is_checked_a_few_wishes_at_a_time(stage: Stage) -> None:
    parts, own = await _parts(stage), str(stage.signer.hotkey)
    rivals = [str(KeypairSigner.from_uri(f"//Rival{number}").hotkey) for number in range(40)]
    shares = dict.fromkeys([own, *rivals], f"1/{len(rivals) + 1}")
    parts.directory.replace([], dict.fromkeys(shares, 10**15))
    asked = {
        rival: _shown(_job(validator_hotkey=rival, job_uuid=str(uuid4())), LIAR).model_dump()
        for rival in rivals
    }
    context = {
        "reason": "share",
        "executor_class": CLASS,
        "at": now().isoformat(),
        "window_s": 3600,
        "usage_s": {own: 50},
        "shares": shares,
        "asked": asked,
    }
    decline = ShareDecline(MINER.hotkey, CLASS, context, now())
    why, turns = await _turns(parts.shares.why_unfair(decline, parts.store, parts.knobs()))
    assert "is not signed by it" in (why or "")
    assert turns > len(rivals) // 8  # eight at a time, and what is read before
