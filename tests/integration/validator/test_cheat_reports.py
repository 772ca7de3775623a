"""Users' reports of miners that cheated."""

import json
from typing import Any
from uuid import uuid4

from horde_agents.protocol.signed_fields import Scope, sign_payload, stock_cheat_payload
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.store import cross_checks
from horde_agents.store.cross_checks import CrossCheck
from horde_agents.testing.scripted_miner import Script, ScriptedMiner, Talk, finish
from horde_agents.testing.signed_jobs import cheat_frame
from tests.fixtures.validator import Stage
from tests.fixtures.waiting import eventually


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


async def judged(stage: Stage, count: int = 1) -> list[CrossCheck]:
    """What the reports came to, once all of them are judged."""
    assert stage.validator is not None
    store = stage.validator.parts.store

    async def found() -> list[CrossCheck] | None:
        async with store.reading() as connection:
            rows = (await connection.exec_driver_sql("SELECT uuid FROM cross_checks ORDER BY id")).all()
            checks = [await cross_checks.load(connection, row.uuid) for row in rows]
        ended = [check for check in checks if check is not None and check.state != "open"]
        return ended if len(ended) == count else None

    return await eventually(found)


def says(text: str) -> Script:
    """A miner that returns this output for every job."""

    async def script(talk: Talk) -> None:
        await talk.greet()
        await finish(talk, await talk.accept(), text)

    return script


async def reported(stage: Stage, outputs: dict[str, str], trusted: str | None = None) -> tuple[str, str]:
    """A job that the miner ``cheat`` completed was reported; the hotkey and the job's uuid."""
    miners = {name: await stage.known_miner(says(text), name=name) for name, text in outputs.items()}
    changes: dict[str, Any] = {}
    if trusted is not None:
        own = await stage.miner("trusted", script=says(trusted))
        changes["trusted_miner"] = {"host": "127.0.0.1", "port": own.port}
    await stage.start(miners["cheat"], **changes)
    uuid = await stage.submit()
    await stage.facilitator.until_final(uuid)
    await stage.until_idle()
    await stage.start(*miners.values(), **changes)
    (row,) = await reports(stage, cheat_frame(stage.signer, uuid, str(uuid4()), {"got": None, "é": 1}))
    assert row.job_uuid == uuid
    assert '"got": null' in row.details_json
    return miners["cheat"].hotkey, uuid


async def test_a_miner_that_two_others_contradict_is_barred_with_the_evidence(stage: Stage) -> None:
    cheat, uuid = await reported(stage, {"cheat": "bye\n", "one": "hello\n", "two": "hello\n"})
    (check,) = await judged(stage)
    assert (check.state, check.loser_hotkey, check.job_uuid) == ("disagreed", cheat, uuid)
    outputs = json.loads(check.evidence_json)["outputs"]
    assert [output["stdout"] for output in outputs] == ["bye\n", "hello\n", "hello\n"]
    assert uuid in (await stage.blacklist())[cheat].note


async def test_the_trusted_miner_decides_where_there_is_one(stage: Stage) -> None:
    cheat, _ = await reported(stage, {"cheat": "bye\n"}, trusted="hello\n")
    (check,) = await judged(stage)
    assert check.loser_hotkey == cheat
    assert set(await stage.blacklist()) == {cheat}


async def test_a_report_alone_bars_nobody(stage: Stage) -> None:
    """There is nobody else to ask: the report stays without effect."""
    await reported(stage, {"cheat": "bye\n"})
    await stage.restart(report_retry_s=0.05)
    (check,) = await judged(stage)
    assert (check.state, check.loser_hotkey) == ("undecided", "")
    assert await stage.blacklist() == {}


async def test_a_wrong_report_bars_nobody_and_counts_against_its_signatory(stage: Stage) -> None:
    await reported(stage, {"cheat": "hello\n", "one": "hello\n", "two": "hello\n"})
    (check,) = await judged(stage)
    assert (check.state, check.reporter_hotkey) == ("agreed", stage.signer.hotkey)
    assert await stage.blacklist() == {}
    await stage.restart(wrong_reports_per_day=1)
    uuid = await stage.submit()
    await stage.facilitator.until_final(uuid)
    await stage.until_idle()
    assert len(await reports(stage, cheat_frame(stage.signer, uuid, str(uuid4()), None))) == 1


async def test_reports_without_end_are_refused(stage: Stage) -> None:
    await completed(stage, reports_per_day=1)
    rows: list[Any] = []
    for _ in range(2):
        uuid = await stage.submit()
        await stage.facilitator.until_final(uuid)
        await stage.until_idle()
        rows = await reports(stage, cheat_frame(stage.signer, uuid, str(uuid4()), None))
    assert len(rows) == 1


async def test_reruns_that_differ_from_each_other_bar_nobody(stage: Stage) -> None:
    await reported(stage, {"cheat": "1", "one": "2", "two": "3"})
    (check,) = await judged(stage)
    assert (check.state, check.loser_hotkey) == ("undecided", "")
    assert await stage.blacklist() == {}


async def test_a_report_that_was_open_at_a_restart_is_followed_up_after_it(stage: Stage) -> None:
    cheat, _ = await reported(stage, {"cheat": "bye\n"})
    await stage.stop()
    own = await stage.miner("trusted", script=says("hello\n"))
    await stage.restart(trusted_miner={"host": "127.0.0.1", "port": own.port})
    (check,) = await judged(stage)
    assert check.loser_hotkey == cheat


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
    _, uuid = await completed(stage)
    await reports(stage, cheat_frame(stage.signer, uuid, str(uuid4()), "first"))
    (row,) = await reports(stage, cheat_frame(stage.signer, uuid, str(uuid4()), "second"))
    assert row.details_json == '"first"'
    await stage.restart(report_retry_s=0.05)
    assert len(await judged(stage)) == 1


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
