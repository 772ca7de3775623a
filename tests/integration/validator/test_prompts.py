"""The kind ``llm_prompts`` with a real S3 server; what runs its jobs is played with plain HTTP."""

import json
import signal
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import select

from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.prompts.kind import PromptsKind
from horde_agents.agents.validator.prompts.sampler import drawn, sample
from horde_agents.agents.validator.synthetic.kinds import Finding, JobReport, KindNotReady, Task, load_kind
from horde_agents.clients.objects import S3Objects
from horde_agents.protocol import job_frames as frames
from horde_agents.scoring.facts import Outcome
from horde_agents.store.tables import prompt_sets
from horde_agents.testing.object_server import ObjectServer
from horde_agents.testing.scripted_miner import Talk, run_jobs
from tests.fixtures.prompts import Runner, parts_of, upload
from tests.fixtures.validator import Stage

CLASS = "always_on.test"
BATCH = "00000000-0000-4000-8000-000000000001"
LIMITS = {"download_time_limit": 1, "execution_time_limit": 2, "upload_time_limit": 1}
REPORT = JobReport("", "", {}, 1, CLASS, "miner")


async def fails(talk: Talk) -> None:
    await talk.greet()
    uuid = await talk.accept()
    failed = {"error_type": "nonzero_return_code", "stage": "execution", "message": ""}
    said = {"docker_process_stderr": "out of memory\n"}
    await talk.send(frames.V0JobFailedRequest.model_validate({"job_uuid": uuid} | failed | said))


async def prepared(parts: Parts, count: int = 2) -> tuple[PromptsKind, list[Task]]:
    parts.run_trusted = Runner().run
    kind = load_kind("llm_prompts", parts)
    assert isinstance(kind, PromptsKind)
    return kind, list((await kind.prepare({CLASS: count}, BATCH))[CLASS])


async def judged_upload(parts: Parts, body: bytes) -> Finding:
    kind, tasks = await prepared(parts, 1)
    await upload(tasks[0].request["uploads"][0]["url"], body)
    return await kind.judge(tasks[0], REPORT)


async def test_equal_answers_pass_and_each_executor_has_prompts_of_its_own(
    stage: Stage, object_server: ObjectServer, tmp_path: Path
) -> None:
    kind, tasks = await prepared(await parts_of(stage, object_server, tmp_path))
    for task in tasks:
        await Runner().run(task.request)
        assert await kind.judge(task, REPORT) == Finding(Outcome.PASSED, "")
    first, second = (set(task.secret["answers"]) for task in tasks)
    assert len(first) == len(second) == 3  # fewer than are compared at most
    assert not first & second


async def test_one_different_answer_fails(stage: Stage, object_server: ObjectServer, tmp_path: Path) -> None:
    kind, tasks = await prepared(await parts_of(stage, object_server, tmp_path), 1)
    await Runner({next(iter(tasks[0].secret["answers"])): "guess"}).run(tasks[0].request)
    found = await kind.judge(tasks[0], REPORT)
    assert found.outcome is Outcome.FAILED
    assert found.why.startswith("1 of 3")


async def test_only_the_prompts_that_the_trusted_miner_answered_are_compared(
    stage: Stage, object_server: ObjectServer, tmp_path: Path
) -> None:
    parts = await parts_of(stage, object_server, tmp_path, prompts_per_job=6, prompts_checked_per_job=2)
    trusted = Runner()
    parts.run_trusted = trusted.run
    kind = PromptsKind(parts)
    tasks = (await kind.prepare({CLASS: 3}, BATCH))[CLASS]
    assert trusted.answered == 3 * 2
    for task in tasks:
        asked, checked = set(task.secret["asked"]), set(task.secret["answers"])
        assert (len(asked), len(checked)) == (6, 2)
        assert checked < asked
        await Runner(dict.fromkeys(asked - checked, "guess")).run(task.request)
        assert await kind.judge(task, REPORT) == Finding(Outcome.PASSED, "")
        await Runner(dict.fromkeys(asked, "guess")).run(task.request)
        found = await kind.judge(task, REPORT)
        assert found == Finding(Outcome.FAILED, "2 of 2 answers compared differ from the trusted miner's")


async def test_answers_that_are_missing_are_wrong_compared_or_not(
    stage: Stage, object_server: ObjectServer, tmp_path: Path
) -> None:
    parts = await parts_of(stage, object_server, tmp_path, prompts_per_job=6, prompts_checked_per_job=2)
    kind, [task] = await prepared(parts, 1)
    await upload(task.request["uploads"][0]["url"], json.dumps(task.secret["answers"]).encode())
    assert await kind.judge(task, REPORT) == Finding(Outcome.FAILED, "4 of 6 answers are missing")
    one = dict.fromkeys(list(task.secret["answers"])[:1], "guess")
    await upload(task.request["uploads"][0]["url"], json.dumps(one).encode())
    found = await kind.judge(task, REPORT)
    assert found.why == "5 of 6 answers are missing, 1 of 2 answers compared differ from the trusted miner's"


async def test_anothers_answers_fail(stage: Stage, object_server: ObjectServer, tmp_path: Path) -> None:
    kind, tasks = await prepared(await parts_of(stage, object_server, tmp_path))
    await upload(tasks[0].request["uploads"][0]["url"], json.dumps(tasks[1].secret["answers"]).encode())
    assert (await kind.judge(tasks[0], REPORT)).why == "answered other prompts than it was given"


async def test_no_upload_fails(stage: Stage, object_server: ObjectServer, tmp_path: Path) -> None:
    kind, tasks = await prepared(await parts_of(stage, object_server, tmp_path), 1)
    assert await kind.judge(tasks[0], REPORT) == Finding(Outcome.FAILED, "uploaded no answers")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff{", "no JSON"),
        (b"[" * 40_000, "no JSON"),
        (b"[]", "no JSON object of texts"),
        (b'{"a": 1}', "no JSON object of texts"),
        (b"x" * 50_000, "more than 49152 bytes"),
    ],
    ids=["no text", "deep", "a list", "numbers", "too long"],
)
async def test_answers_of_another_form_fail(
    stage: Stage, object_server: ObjectServer, tmp_path: Path, body: bytes, why: str
) -> None:
    found = await judged_upload(await parts_of(stage, object_server, tmp_path), body)
    assert found.outcome is Outcome.FAILED
    assert why in found.why


async def test_a_store_that_is_away_is_no_miners_fault(
    stage: Stage, own_object_server: ObjectServer, tmp_path: Path
) -> None:
    kind, tasks = await prepared(await parts_of(stage, own_object_server, tmp_path, objects_call_s=0.5), 1)
    own_object_server.process.send(signal.SIGSTOP)
    assert (await kind.judge(tasks[0], REPORT)).outcome is Outcome.NOT_RUN
    own_object_server.process.kill()
    assert (await kind.judge(tasks[0], REPORT)).outcome is Outcome.NOT_RUN
    with pytest.raises(KindNotReady):
        await kind.prepare({CLASS: 1}, BATCH)


async def test_without_the_trusted_miners_answers_there_is_no_batch(
    stage: Stage, object_server: ObjectServer, tmp_path: Path
) -> None:
    parts = await parts_of(stage, object_server, tmp_path)
    kind = PromptsKind(parts)
    runs = {
        "needs a trusted miner": None,
        "trusted miner did not complete .*: no GPU": Runner(why_not="no GPU").run,
        "trusted miner's answers are not those": Runner({"more": "than asked"}).run,
    }
    for why, run in runs.items():
        parts.run_trusted = run
        with pytest.raises(KindNotReady, match=why):
            await kind.prepare({CLASS: 1}, BATCH)


async def test_prompts_and_answers_have_a_bucket_each(
    stage: Stage, object_server: ObjectServer, tmp_path: Path, objects: S3Objects
) -> None:
    buckets = {"prompts_bucket": "own-prompts", "answers_bucket": "own-answers"}
    kind, tasks = await prepared(await parts_of(stage, object_server, tmp_path, **buckets), 1)
    await Runner().run(tasks[0].request)
    prompts, answers = [await objects.list(bucket, f"{BATCH}/", 10) for bucket in buckets.values()]
    assert len(prompts) == 2  # the trusted miner's and the executor's
    assert prompts == answers
    await kind.clean(BATCH)
    assert [await objects.list(bucket, "", 10) for bucket in buckets.values()] == [[], []]


async def test_cleaning_removes_prompts_and_answers(
    stage: Stage, object_server: ObjectServer, tmp_path: Path
) -> None:
    kind, tasks = await prepared(await parts_of(stage, object_server, tmp_path), 1)
    await Runner().run(tasks[0].request)
    await kind.clean(BATCH)
    assert (await kind.judge(tasks[0], REPORT)).why == "uploaded no answers"
    async with aiohttp.ClientSession() as http, http.get(tasks[0].request["volumes"][0]["url"]) as reply:
        assert reply.status == 404


async def test_every_batch_has_a_set_of_its_own_used_once(
    stage: Stage, object_server: ObjectServer, tmp_path: Path
) -> None:
    parts = await parts_of(stage, object_server, tmp_path)
    await prepared(parts)
    await prepared(parts)
    async with parts.store.reading() as connection:
        rows = (await connection.execute(select(prompt_sets.c.state, prompt_sets.c.prompts_json))).all()
    assert [row.state for row in rows] == ["used", "used"]
    first, second = ({each["text"] for each in json.loads(row.prompts_json)} for row in rows)
    assert not first & second


async def test_a_run_at_the_trusted_miner_goes_there_alone(stage: Stage) -> None:
    trusted = await stage.miner("trusted", script=run_jobs)
    other = await stage.known_miner(run_jobs, name="other")
    parts = (await stage.start(other, trusted_miner={"host": "127.0.0.1", "port": trusted.port})).parts
    seen = other.connections
    assert parts.run_trusted is not None
    assert await parts.run_trusted({"executor_class": CLASS, "docker_image": "solver:1"} | LIMITS) == ""
    assert other.connections == seen


async def test_a_run_that_the_trusted_miner_fails_is_told(stage: Stage) -> None:
    trusted = await stage.miner("trusted", script=fails)
    parts = (await stage.start(trusted_miner={"host": "127.0.0.1", "port": trusted.port})).parts
    assert parts.run_trusted is not None
    why = await parts.run_trusted({"executor_class": CLASS, "docker_image": "solver:1"} | LIMITS)
    assert why == "nonzero_return_code in execution: out of memory"


async def test_without_a_trusted_miner_nothing_can_be_run_there(stage: Stage) -> None:
    assert (await stage.start()).parts.run_trusted is None


async def test_a_kind_without_its_settings_is_not_ready(stage: Stage) -> None:
    parts = (await stage.start(prompts_image="solver:1")).parts
    with pytest.raises(KindNotReady, match="objects_url"):
        await PromptsKind(parts).prepare({CLASS: 1}, BATCH)


async def test_a_batch_leaves_time_for_a_run_at_the_trusted_miner_for_each_class(stage: Stage) -> None:
    parts = (await stage.start(prompts_running_s=50)).parts
    one, two = (PromptsKind(parts).needs([CLASS] * count) for count in (1, 2))
    assert one.prepare_s > one.running_s > 50
    assert two.prepare_s == 2 * one.prepare_s
    assert two.running_s == one.running_s


def test_which_prompts_are_compared_differs_from_job_to_job() -> None:
    prompts = sample(8)
    assert len({frozenset(each.id for each in drawn(prompts, 4)) for _ in range(200)}) > 20
    assert set(drawn(prompts, 9)) == set(prompts)


def test_no_two_prompts_are_alike() -> None:
    prompts = sample(5000)
    assert len({each.text for each in prompts}) == len({each.id for each in prompts}) == 5000
