"""One attempt at the miner: from its offer to receipts on a page, through broken links and a restart."""

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from horde_agents.protocol.signing import from_hex, verify
from horde_agents.receipts.payloads import JobAccepted, JobFinished, read_payload, signed_text
from horde_agents.store.writer import Unit, Writer
from tests.fixtures.waiting import eventually
from tests.integration.miner.conftest import (
    OTHER,
    PLANS,
    VALIDATOR,
    Miner,
    Peer,
    new_uuid,
    pages,
    receipt_frame,
    serving,
    signed_offer,
)


@pytest.fixture
def quick_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The miner looks all the time for attempts that nobody ends, not twice a minute."""
    monkeypatch.setattr("horde_agents.agents.miner.attempts._SWEEP_S", 0.1)


async def run_to_done(validator: Peer, executor: Peer, uuid: str) -> None:
    """Everything between accept and finish."""
    await executor.expect("V0InitialJobRequest")
    await executor.say(message_type="V0ExecutorReadyRequest", job_uuid=uuid)
    await validator.expect("V0ExecutorReadyRequest")
    await validator.say(
        message_type="V0JobRequest", job_uuid=uuid, executor_class="always_on.test", docker_run_cmd=["true"]
    )
    await executor.expect("V0JobRequest")
    for kind in ("V0VolumesReadyRequest", "V0ExecutionDoneRequest"):
        await executor.say(message_type=kind, job_uuid=uuid)
        await validator.expect(kind)


def finished(uuid: str) -> dict[str, Any]:
    return {
        "message_type": "V0JobFinishedRequest",
        "job_uuid": uuid,
        "docker_process_stdout": "done\n",
        "docker_process_stderr": "",
        "artifacts": {},
        "upload_results": {},
    }


async def test_an_attempt_runs_and_its_receipts_are_published_with_both_signatures(miner: Miner) -> None:
    uuid = new_uuid()
    async with miner.executor() as executor, miner.validator(is_ours=True) as validator:
        assert validator.manifest["manifest"] == {"always_on.test": 1}
        await validator.send(signed_offer(miner, uuid))
        await validator.expect("V0AcceptJobRequest")
        await run_to_done(validator, executor, uuid)
        await executor.say(**finished(uuid))
        assert (await executor.expect("HordeAck"))["job_uuid"] == uuid
        assert (await validator.expect("V0JobFinishedRequest"))["docker_process_stdout"] == "done\n"
        now = datetime.now(UTC)
        known = {
            "job_uuid": uuid,
            "miner_hotkey": miner.hotkey,
            "validator_hotkey": VALIDATOR.hotkey,
            "timestamp": now,
        }
        accepted = JobAccepted(**known, time_accepted=now, ttl=60)
        done = JobFinished(**known, time_started=now, time_took_us=1, score_str="10.000000", block_numbers=[])
        for payload, kind in (
            (accepted, "V0JobAcceptedReceiptRequest"),
            (done, "V0JobFinishedReceiptRequest"),
        ):
            await validator.say(**receipt_frame(payload, kind))
            assert (await validator.expect("HordeReceiptStored"))["receipt_type"] == payload.receipt_type
    lines = await pages(miner)
    assert [line["payload"]["receipt_type"] for line in lines] == [
        "JobStartedReceipt",
        "JobAcceptedReceipt",
        "JobFinishedReceipt",
    ]
    for line in lines:
        text = signed_text(read_payload(line["payload"]))
        assert verify(VALIDATOR.hotkey, text, from_hex(line["validator_signature"]))
        assert verify(miner.hotkey, text, from_hex(line["miner_signature"]))


async def test_a_stock_validator_sees_no_key_of_ours(miner: Miner) -> None:
    async with miner.validator() as validator:
        assert set(validator.manifest) == {"message_type", "manifest"}


async def test_a_validator_that_comes_back_is_told_what_it_missed(miner: Miner) -> None:
    uuid = new_uuid()
    async with miner.executor() as executor:
        async with miner.validator() as validator:
            await validator.send(signed_offer(miner, uuid))
            await validator.expect("V0AcceptJobRequest")
            await run_to_done(validator, executor, uuid)
        async with miner.validator() as validator:
            kinds = [(await validator.frame())["message_type"] for _ in range(4)]
            assert kinds == [
                "V0AcceptJobRequest",
                "V0ExecutorReadyRequest",
                "V0VolumesReadyRequest",
                "V0ExecutionDoneRequest",
            ]
            await executor.say(**finished(uuid))
            await validator.expect("V0JobFinishedRequest")


async def test_an_offer_repeated_is_answered_and_never_run_twice(miner: Miner) -> None:
    uuid = new_uuid()
    async with miner.executor() as executor, miner.validator(is_ours=True) as validator:
        text = signed_offer(miner, uuid)
        await validator.send(text)
        await validator.expect("V0AcceptJobRequest")
        await validator.send(text)
        await validator.expect("V0AcceptJobRequest")
        await run_to_done(validator, executor, uuid)
        await executor.say(**finished(uuid))
        await validator.expect("V0JobFinishedRequest")
    async with miner.validator(is_ours=True) as validator:
        await validator.send(text)
        kinds = [(await validator.frame())["message_type"] for _ in range(5)]
    assert (kinds[0], kinds[-1]) == ("V0AcceptJobRequest", "V0JobFinishedRequest")


async def test_an_executor_that_comes_back_within_its_grace_goes_on(miner: Miner) -> None:
    uuid = new_uuid()
    async with miner.validator() as validator:
        async with miner.executor() as executor:
            await validator.send(signed_offer(miner, uuid))
            await validator.expect("V0AcceptJobRequest")
            await run_to_done(validator, executor, uuid)
        async with miner.executor(running_job_uuid=uuid) as executor:
            await executor.expect("V0InitialJobRequest")
            await executor.expect("V0JobRequest")
            await executor.say(**finished(uuid))
            await validator.expect("V0JobFinishedRequest")


async def test_an_executor_that_stays_away_ends_its_attempt(miner: Miner) -> None:
    uuid = new_uuid()
    async with miner.validator() as validator:
        async with miner.executor():
            await validator.send(signed_offer(miner, uuid))
            await validator.expect("V0AcceptJobRequest")
        failed = await validator.expect("V0HordeFailedRequest")
        assert (failed["reason"], failed["reported_by"]) == ("executor_disconnected", "miner")
    async with miner.executor() as again, miner.validator() as validator:
        await validator.send(signed_offer(miner, new_uuid()))
        await validator.expect("V0AcceptJobRequest")
        await again.expect("V0InitialJobRequest")


async def test_the_next_executor_of_a_slot_ends_an_attempt_that_the_last_one_left_without_a_report(
    tmp_path: Path,
) -> None:
    uuid, again = new_uuid(), new_uuid()
    async with serving(tmp_path, reconnect_grace_s=60.0) as miner, miner.validator() as validator:
        async with miner.executor():
            await validator.send(signed_offer(miner, uuid))
            await validator.expect("V0AcceptJobRequest")
        async with miner.executor() as next_one:
            failed = await validator.expect("V0HordeFailedRequest")
            assert (failed["job_uuid"], failed["reason"]) == (uuid, "executor_disconnected")
            await validator.send(signed_offer(miner, again))
            assert (await validator.expect("V0AcceptJobRequest"))["job_uuid"] == again
            assert (await next_one.expect("V0InitialJobRequest"))["job_uuid"] == again


async def test_a_restarted_miner_ends_what_its_executors_cannot_finish(tmp_path: Path) -> None:
    uuid = new_uuid()
    async with serving(tmp_path) as miner, miner.executor(), miner.validator() as validator:
        text = signed_offer(miner, uuid)
        await validator.send(text)
        await validator.expect("V0AcceptJobRequest")
    async with serving(tmp_path) as miner, miner.validator(is_ours=True) as validator:
        await validator.send(text)
        await validator.expect("V0AcceptJobRequest")
        failed = await validator.expect("V0HordeFailedRequest")
        assert (failed["reason"], failed["context"]) == (
            "executor_disconnected",
            {"cause": "agent_restarted"},
        )


@pytest.mark.usefixtures("quick_sweep")
async def test_an_attempt_whose_end_was_lost_with_a_primary_ends_and_frees_its_slot(
    tmp_path: Path,
) -> None:
    uuid = new_uuid()
    async with serving(tmp_path) as miner, miner.executor() as executor, miner.validator() as validator:
        await validator.send(signed_offer(miner, uuid))
        await validator.expect("V0AcceptJobRequest")
        await run_to_done(validator, executor, uuid)
        await executor.say(**finished(uuid))
        await validator.expect("V0JobFinishedRequest")
        with sqlite3.connect(tmp_path / "miner.sqlite3") as store:
            (last,) = store.execute(
                "SELECT max(sequence) FROM job_events WHERE subject_uuid = ?", [uuid]
            ).fetchone()
            store.execute("DELETE FROM job_events WHERE subject_uuid = ? AND sequence = ?", [uuid, last])
            store.execute(
                "UPDATE attempts SET state = 'execution_done', sequence = ? WHERE uuid = ?", [last - 1, uuid]
            )
            store.execute("UPDATE leases SET open_slot_id = slot_id WHERE attempt_uuid = ?", [uuid])

        async def is_over() -> bool:
            with sqlite3.connect(tmp_path / "miner.sqlite3") as store:
                (state,) = store.execute("SELECT state FROM attempts WHERE uuid = ?", [uuid]).fetchone()
            return bool(state == "horde_failed")

        await eventually(is_over)
        async with miner.executor():
            await validator.send(signed_offer(miner, new_uuid()))
            await validator.expect("V0AcceptJobRequest")


@pytest.mark.usefixtures("quick_sweep")
async def test_an_attempt_past_its_deadline_ends_though_nobody_waits_for_it(
    tmp_path: Path,
) -> None:
    uuid = new_uuid()
    async with serving(tmp_path) as miner, miner.executor() as executor, miner.validator() as validator:
        await validator.send(signed_offer(miner, uuid))
        await validator.expect("V0AcceptJobRequest")
        await executor.expect("V0InitialJobRequest")
        with sqlite3.connect(tmp_path / "miner.sqlite3") as store:
            store.execute("UPDATE attempts SET deadline_at = created_at WHERE uuid = ?", [uuid])
        await executor.expect("HordeCancelJob")
        failed = await validator.expect("V0HordeFailedRequest")
        assert failed["context"] == {"cause": "deadline_passed"}


async def test_an_end_that_could_not_be_stored_is_taken_when_the_executor_repeats_it(
    tmp_path: Path,
) -> None:
    uuid = new_uuid()
    async with serving(tmp_path) as miner, miner.validator() as validator:
        async with miner.executor() as executor:
            await validator.send(signed_offer(miner, uuid))
            await validator.expect("V0AcceptJobRequest")
            await run_to_done(validator, executor, uuid)
            with sqlite3.connect(tmp_path / "miner.sqlite3") as store:
                store.execute(
                    "CREATE TRIGGER away BEFORE UPDATE ON attempts WHEN NEW.state = 'completed' "
                    "BEGIN SELECT RAISE(ABORT, 'the primary is away'); END"
                )
            await executor.say(**finished(uuid))
            assert (await executor.socket.receive()).type in {
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
            }
        with sqlite3.connect(tmp_path / "miner.sqlite3") as store:
            store.execute("DROP TRIGGER away")
        async with miner.executor(running_job_uuid=uuid) as executor:
            for kind in ("V0InitialJobRequest", "V0JobRequest"):
                await executor.expect(kind)
            await executor.say(**finished(uuid))
            await executor.expect("HordeAck")
            await validator.expect("V0JobFinishedRequest")


async def test_the_validator_is_told_the_end_that_is_stored_though_its_commit_went_unanswered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid, write, is_away = new_uuid(), Writer.run, False

    async def run(writer: Writer, unit: Unit[Any]) -> Any:
        nonlocal is_away
        value = await write(writer, unit)
        if is_away:
            is_away = False
            raise ConnectionResetError("the primary went after the commit")
        return value

    monkeypatch.setattr(Writer, "run", run)
    async with serving(tmp_path) as miner, miner.validator() as validator:
        async with miner.executor() as executor:
            await validator.send(signed_offer(miner, uuid))
            await validator.expect("V0AcceptJobRequest")
            await run_to_done(validator, executor, uuid)
            is_away = True
            await executor.say(**finished(uuid))
            assert (await executor.socket.receive()).type in {
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
            }
        # the executor stays away, which would end the attempt as failed
        await validator.expect("V0JobFinishedRequest")
        with sqlite3.connect(tmp_path / "miner.sqlite3") as store:
            (state,) = store.execute("SELECT state FROM attempts WHERE uuid = ?", [uuid]).fetchone()
        assert state == "completed"


async def test_a_busy_miner_declines_with_the_receipts_that_excuse_it(miner: Miner) -> None:
    async with miner.executor(), miner.validator(OTHER) as other, miner.validator() as validator:
        await other.send(signed_offer(miner, new_uuid(), OTHER))
        await other.expect("V0AcceptJobRequest")
        await validator.send(signed_offer(miner, new_uuid()))
        declined = await validator.expect("V0DeclineJobRequest")
    assert declined["reason"] == "busy"
    (excuse,) = declined["receipts"]
    assert excuse["payload"]["validator_hotkey"] == OTHER.hotkey
    assert verify(
        OTHER.hotkey, signed_text(read_payload(excuse["payload"])), from_hex(excuse["validator_signature"])
    )


async def test_a_cancel_reaches_the_executor(miner: Miner) -> None:
    uuid = new_uuid()
    async with miner.executor() as executor, miner.validator() as validator:
        await validator.send(signed_offer(miner, uuid))
        await validator.expect("V0AcceptJobRequest")
        await executor.expect("V0InitialJobRequest")
        await validator.say(message_type="HordeCancelJob", job_uuid=uuid, message="enough")
        assert (await executor.expect("HordeCancelJob"))["message"] == "enough"


@pytest.mark.parametrize("token", ["", "forged.token", "e30=.00"])
async def test_an_executor_without_a_right_token_is_refused(miner: Miner, token: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        async with miner.executor(token=token or "nothing"):
            pass


async def test_an_executor_of_before_a_restart_does_not_drive_the_new_one_away(miner: Miner) -> None:
    async with miner.executor() as executor:
        async with miner.executor(running_job_uuid=new_uuid()) as old:
            await old.expect("HordeCancelJob")
            await old.expect("HordeAck")
        async with miner.validator() as validator:
            await validator.send(signed_offer(miner, new_uuid()))
            await validator.expect("V0AcceptJobRequest")
            await executor.expect("V0InitialJobRequest")


async def test_receipt_pages_answer_ranges_as_the_published_reader_wants(miner: Miner) -> None:
    async with miner.executor(), miner.validator() as validator:
        await validator.send(signed_offer(miner, new_uuid()))
        await validator.expect("V0AcceptJobRequest")

    async def published() -> list[Any]:
        return await pages(miner)

    await eventually(published)
    url = f"http://{miner.base}/receipts/{int(time.time()) // 300}.jsonl"
    async with miner.http.get(url) as reply:
        whole = await reply.read()
    async with miner.http.get(url, headers={"Range": "bytes=10-"}) as reply:
        assert (reply.status, await reply.read()) == (206, whole[10:])
        assert reply.headers["Content-Range"] == f"bytes 10-{len(whole) - 1}/{len(whole)}"
    async with miner.http.get(url, headers={"Range": f"bytes={len(whole)}-"}) as reply:
        assert reply.status == 416
    for name in ("0", "no-number", "-1", "9" * 30):
        async with miner.http.get(f"http://{miner.base}/receipts/{name}.jsonl") as reply:
            assert reply.status == 404
    assert PLANS
