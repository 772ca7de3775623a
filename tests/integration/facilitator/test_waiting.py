"""Jobs that name several classes or wait: signed whole, on a path of our own, to validators that know how."""

from datetime import timedelta
from typing import Any

import pytest

from horde_agents.jobs.classes import CATALOGUE
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.facilitator_validator import HordeJobRequest, read_from_facilitator
from horde_agents.protocol.signed_fields import full_request_payload, verify_payload
from horde_agents.store import jobs
from horde_agents.store.engine import open_store
from tests.integration.facilitator.conftest import (
    OTHER_VALIDATOR,
    Facilitator,
    job_body,
    linked,
    signed,
    signed_whole,
)

PATH = "/api/v1/horde/job-docker/"
WAITING = frozenset({Extension.WAITING})
LARGE = "always_on.gpu.h100"


def waiting_body(**more: Any) -> dict[str, Any]:
    return job_body(wait_s=300, executor_classes=["always_on.test", LARGE]) | more


async def submit(facilitator: Facilitator, body: dict[str, Any]) -> tuple[int, Any]:
    return await facilitator.call("POST", PATH, body, signed_whole(body))


async def test_the_validator_gets_the_body_as_its_user_signed_it(facilitator: Facilitator) -> None:
    body = waiting_body()
    async with linked(facilitator, extensions=WAITING) as validator:
        status, job = await submit(facilitator, body)
        assert status == 201, job
        frame, _ = read_from_facilitator(await validator.socket.receive_str(timeout=10))
    assert isinstance(frame, HordeJobRequest)
    assert (frame.uuid, frame.body) == (job["uuid"], body)
    assert verify_payload(frame.signature.plain(), full_request_payload(frame.body))
    assert job["executor_class"] == "always_on.test"


async def test_the_deadline_is_as_much_later_as_the_job_may_wait(facilitator: Facilitator) -> None:
    async with linked(facilitator, extensions=WAITING):
        _, plain = await facilitator.submit(job_body())
        _, waits = await submit(facilitator, waiting_body())
    async with open_store(facilitator.settings.database_url) as store, store.reading() as connection:
        kept = [await jobs.load(connection, job["uuid"]) for job in (plain, waits)]
    spans = [job.deadline_at - job.created_at for job in kept if job is not None]
    slower_s = CATALOGUE[LARGE].spin_up_s - CATALOGUE["always_on.test"].spin_up_s
    assert spans[1] - spans[0] == timedelta(seconds=300 + slower_s)


async def test_a_validator_that_lets_nothing_wait_gets_no_such_job(facilitator: Facilitator) -> None:
    async with linked(facilitator):
        status, answer = await submit(facilitator, waiting_body())
        assert (status, answer["code"]) == (400, "job.cannot_wait")
        status, answer = await submit(facilitator, waiting_body(target_validator_hotkey=None))
        assert (status, answer["code"]) == (400, "job.cannot_wait")
        async with linked(facilitator, OTHER_VALIDATOR, WAITING) as able:
            status, _ = await submit(facilitator, waiting_body(target_validator_hotkey=None))
            assert status == 201
            assert (await able.frame())["message_type"] == "HordeJobRequest"


async def test_without_any_validator_it_is_refused_as_other_jobs_are(facilitator: Facilitator) -> None:
    status, answer = await submit(facilitator, waiting_body())
    assert (status, answer["code"]) == (400, "validator.not_available")


async def test_on_the_stock_path_the_same_keys_mean_nothing(facilitator: Facilitator) -> None:
    async with linked(facilitator, extensions=WAITING) as validator:
        status, _ = await facilitator.submit(waiting_body())
        frame = await validator.frame()
    assert status == 201
    assert frame["message_type"] == "V2JobRequest"
    assert not {key for key in frame if key.startswith("horde_")}


async def test_a_retry_returns_the_job_already_made(facilitator: Facilitator) -> None:
    body = waiting_body()
    headers = signed_whole(body)
    async with linked(facilitator, extensions=WAITING):
        _, first = await facilitator.call("POST", PATH, body, headers)
        _, again = await facilitator.call("POST", PATH, body, headers)
    status, alone = await facilitator.call("POST", PATH, body, headers)
    assert first["uuid"] == again["uuid"] == alone["uuid"]
    assert status == 201


async def test_a_job_still_sent_is_forwarded_again_as_it_was(facilitator: Facilitator) -> None:
    extensions = WAITING | {Extension.RESUME}
    async with linked(facilitator, extensions=extensions) as validator:
        await submit(facilitator, waiting_body())
        first = await validator.frame()
    async with linked(facilitator, extensions=extensions) as validator:
        assert await validator.frame() == first


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"wait_s": -1}, "job.invalid"),
        ({"wait_s": 1.5}, "job.invalid"),
        ({"wait_s": 10**7}, "job.invalid"),
        ({"executor_classes": "always_on.test"}, "job.invalid"),
        ({"executor_classes": ["quantum"]}, "job.unknown_class"),
        ({"executor_classes": [LARGE]}, "job.invalid"),
        ({"on_trusted_miner": True}, "job.invalid"),
    ],
)
async def test_wrong_terms_are_refused(facilitator: Facilitator, more: dict[str, Any], code: str) -> None:
    async with linked(facilitator, extensions=WAITING):
        status, answer = await submit(facilitator, waiting_body(**more))
    assert (status, answer["code"]) == (400, code)


async def test_a_signature_over_the_stock_fields_alone_does_not_cover_it(facilitator: Facilitator) -> None:
    body = waiting_body()
    async with linked(facilitator, extensions=WAITING):
        status, answer = await facilitator.call("POST", PATH, body, signed(body))
        assert (status, answer["code"]) == (400, "signature.malformed")
        changed = {**body, "wait_s": 1}
        status, answer = await facilitator.call("POST", PATH, changed, signed_whole(body))
        assert (status, answer["code"]) == (400, "signature.invalid")
