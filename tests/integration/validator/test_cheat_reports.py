"""Users' reports of miners that cheated."""

from typing import Any
from uuid import uuid4

from horde_agents.protocol.signed_fields import Scope, sign_payload, stock_cheat_payload
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.testing.scripted_miner import ScriptedMiner, Talk
from horde_agents.testing.signed_jobs import cheat_frame
from tests.fixtures.validator import Stage


async def completed(stage: Stage, **changes: Any) -> tuple[ScriptedMiner, str]:
    miner = await stage.miner()
    await stage.start(miner, **changes)
    uuid = await stage.submit()
    await stage.facilitator.until_final(uuid)
    await stage.until_idle()
    return miner, uuid


async def reports(stage: Stage, frame: dict[str, Any]) -> list[Any]:
    """Send a report; the rows stored once the validator has looked at it."""
    await stage.facilitator.send(frame)
    await stage.facilitator.send({"message_type": "HordeCancelJob", "uuid": str(uuid4())})
    known = len(stage.facilitator.cancel_results)
    await stage.facilitator.until(lambda: len(stage.facilitator.cancel_results) > known)
    assert stage.validator is not None
    async with stage.validator.parts.store.reading() as connection:
        return list((await connection.exec_driver_sql("SELECT * FROM cheat_reports")).all())


async def test_reported_miner_is_paused_and_the_evidence_kept(stage: Stage) -> None:
    miner, uuid = await completed(stage)
    frame = cheat_frame(stage.signer, uuid, str(uuid4()), {"expected": "é", "got": None})
    (row,) = await reports(stage, frame)
    assert (row.job_uuid, row.trusted_job_uuid) == (uuid, frame["trusted_job_uuid"])
    assert '"got": null' in row.details_json
    assert frame["signature"]["signature"] in row.signature_json
    barred = await stage.blacklist()
    assert uuid in barred[miner.hotkey].note


async def test_report_in_the_single_encoding_counts_too(stage: Stage) -> None:
    _, uuid = await completed(stage)
    body = {"job_uuid": uuid, "trusted_job_uuid": str(uuid4()), "details": None}
    signature = sign_payload(stage.signer, stock_cheat_payload(body), 123, Scope.FULL_REQUEST)
    frame = {
        "type": "job.cheated",
        "message_type": "V0JobCheated",
        **body,
        "signature": signature.as_wire(),
    }
    assert len(await reports(stage, frame)) == 1


async def test_forged_report_changes_nothing(stage: Stage) -> None:
    _, uuid = await completed(stage)
    frame = cheat_frame(stage.signer, uuid, str(uuid4()), None)
    assert await reports(stage, frame | {"details": "altered"}) == []
    stranger = cheat_frame(KeypairSigner.from_uri("//Eve"), uuid, str(uuid4()), None)
    assert await reports(stage, stranger) == []
    assert await stage.blacklist() == {}


async def test_second_report_of_a_job_changes_nothing(stage: Stage) -> None:
    miner, uuid = await completed(stage)
    await reports(stage, cheat_frame(stage.signer, uuid, str(uuid4()), "first"))
    until = (await stage.blacklist())[miner.hotkey].until
    (row,) = await reports(stage, cheat_frame(stage.signer, uuid, str(uuid4()), "second"))
    assert row.details_json == '"first"'
    assert (await stage.blacklist())[miner.hotkey].until == until


async def test_job_that_is_unknown_or_not_completed_cannot_be_reported(stage: Stage) -> None:
    await stage.start(await stage.miner(script=accepts_and_listens))
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    assert await reports(stage, cheat_frame(stage.signer, uuid, str(uuid4()), None)) == []
    assert await reports(stage, cheat_frame(stage.signer, str(uuid4()), str(uuid4()), None)) == []


async def accepts_and_listens(talk: Talk) -> None:
    await talk.greet()
    await talk.accept()
    await talk.listen_for(60)
