"""The kind ``llm_prompts``: fresh prompts for each executor, judged by what the trusted miner answers.

The same image answers a sample of each job's prompts at the trusted miner first, which no executor can tell
from the others; no answer there: no batch.
"""

import asyncio
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.prompts.address import objects_settings
from horde_agents.agents.validator.prompts.sampler import Prompt, drawn, sample
from horde_agents.agents.validator.prompts.trusted import longest_s
from horde_agents.agents.validator.reactions import Plan
from horde_agents.agents.validator.synthetic.kinds import Finding, JobReport, KindNotReady, Needs, Task
from horde_agents.clients.objects import (
    ObjectMissing,
    ObjectsFault,
    ObjectTooLarge,
    S3Objects,
)
from horde_agents.jobs.budget import Limits
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.protocol.rest_api import Refused
from horde_agents.runtime.clock import now
from horde_agents.scoring.facts import Outcome
from horde_agents.store import prompt_sets

#: Bytes of one answer at most; an honest one is some hundred words.
_ANSWER_BYTES: Final = 16 * 1024
_TRANSFER_S: Final = 10
#: Seconds for which URLs hold on top of what this kind takes: the polling of miners, and other kinds' tasks.
_SPARE_S: Final = 600
#: Calls of the object store that one class takes before its executors have their prompts.
_CALLS: Final = 4
_WRITTEN_AT_ONCE: Final = 64


class PromptsKind:
    """A batch's prompts and answers have one name, ``<batch>/<uuid>.json``, in a bucket each."""

    name = "llm_prompts"

    def __init__(self, parts: Parts) -> None:
        self._parts, self._settings = parts, parts.settings
        self._opened: S3Objects | None = None

    def needs(self, executor_classes: Collection[str]) -> Needs:
        """A run at the trusted miner for each class, one after another, before the batch's own jobs."""
        plans = [self._plan(name) for name in executor_classes]
        calls_s = _CALLS * self._settings.objects_call_s
        running_s = max((plan.limits.running_s for plan in plans), default=0)
        return Needs(sum(longest_s(plan) + calls_s for plan in plans), running_s)

    async def prepare(
        self, executor_classes: Mapping[str, int], batch_uuid: str
    ) -> Mapping[str, Sequence[Task]]:
        if not self._settings.prompts_image:
            raise KindNotReady("The setting prompts_image names no image that answers prompts.")
        try:
            for bucket in self._buckets():
                await self._objects().ensure_bucket(bucket)
            return {
                name: await self._tasks(name, count, batch_uuid)
                for name, count in sorted(executor_classes.items())
                if count
            }
        except (ObjectsFault, Refused) as error:
            raise KindNotReady(f"llm_prompts: {error}") from error

    async def judge(self, task: Task, report: JobReport) -> Finding:
        asked: Collection[str] = task.secret["asked"]
        most = _ANSWER_BYTES * len(asked)
        try:
            body = await self._objects().get(self._settings.answers_bucket, task.secret["key"], most)
        except ObjectMissing:
            return Finding(Outcome.FAILED, "uploaded no answers")
        except ObjectTooLarge:
            return Finding(Outcome.FAILED, f"uploaded more than {most} bytes of answers")
        except (ObjectsFault, KindNotReady) as error:
            return Finding(Outcome.NOT_RUN, str(error))
        return compared(body, asked, task.secret["answers"])

    async def clean(self, batch_uuid: str) -> None:
        """Remove the batch's prompts and answers."""
        for bucket in self._buckets():
            await self._objects().remove_prefix(bucket, f"{batch_uuid}/")

    def _buckets(self) -> tuple[str, str]:
        return self._settings.prompts_bucket, self._settings.answers_bucket

    async def _tasks(self, executor_class: str, count: int, batch_uuid: str) -> Sequence[Task]:
        each = self._settings.prompts_per_job
        prompts = sample(each * count)
        jobs = [prompts[start : start + each] for start in range(0, len(prompts), each)]
        checked = [prompt for own in jobs for prompt in drawn(own, self._settings.prompts_checked_per_job)]
        answers = await self._trusted_answers(executor_class, checked, batch_uuid)
        turn, tasks, faults = asyncio.Semaphore(_WRITTEN_AT_ONCE), list[Task](), list[ObjectsFault]()

        async def write(own: Sequence[Prompt]) -> None:
            name = f"{batch_uuid}/{uuid4()}.json"
            async with turn:
                if faults:  # the store is away: no need to wait for it once an executor
                    return
                try:
                    request = await self._request(executor_class, own, name)
                except ObjectsFault as error:
                    faults.append(error)
                    return
            asked = [prompt.id for prompt in own]
            expected = {prompt: answers[prompt] for prompt in asked if prompt in answers}
            tasks.append(Task(request, {"key": name, "asked": asked, "answers": expected}))

        async with asyncio.TaskGroup() as group:
            for own in jobs:
                group.create_task(write(own))
        if faults:
            raise faults[0]
        return tasks

    async def _trusted_answers(
        self, executor_class: str, prompts: Sequence[Prompt], batch_uuid: str
    ) -> Mapping[str, str]:
        run, writer = self._parts.run_trusted, self._parts.store.writer
        if run is None:
            raise KindNotReady("llm_prompts needs a trusted miner (setting trusted_miner).")
        uuid, rows = str(uuid4()), [{"id": each.id, "text": each.text} for each in prompts]
        await writer.run(lambda connection: prompt_sets.add(connection, uuid, batch_uuid, rows, now()))
        name = f"{batch_uuid}/{uuid}.json"
        why = await run(await self._request(executor_class, prompts, name))
        if why:
            raise KindNotReady(f"The trusted miner did not complete its job of llm_prompts: {why}")
        most = _ANSWER_BYTES * len(prompts)
        body = await self._objects().get(self._settings.answers_bucket, name, most)
        answers = read_answers(body)
        if isinstance(answers, str) or answers.keys() != {each.id for each in prompts}:
            raise KindNotReady("The trusted miner's answers are not those of its prompts.")
        if not await writer.run(lambda connection: prompt_sets.use(connection, uuid, answers)):
            raise KindNotReady(f"The prompt set {uuid} was used before.")
        return answers

    async def _request(self, executor_class: str, prompts: Sequence[Prompt], name: str) -> dict[str, Any]:
        objects, (prompts_bucket, answers_bucket) = self._objects(), self._buckets()
        body = json.dumps({"prompts": [{"id": each.id, "text": each.text} for each in prompts]}).encode()
        await objects.put(prompts_bucket, name, body)
        expires_s = self._expires_s()
        read = objects.presigned_get(prompts_bucket, name, expires_s)
        write = objects.presigned_put(answers_bucket, name, expires_s)
        volume = {"volume_type": "single_file", "url": read, "relative_path": "prompts.json"}
        upload = {"output_upload_type": "single_file_put", "url": write, "relative_path": "answers.json"}
        return {
            "executor_class": executor_class,
            "docker_image": self._settings.prompts_image,
            "volumes": [volume],
            "uploads": [upload],
            "download_time_limit": _TRANSFER_S,
            "execution_time_limit": self._settings.prompts_running_s,
            "upload_time_limit": _TRANSFER_S,
        }

    def _expires_s(self) -> int:
        """Until the last class's tasks are made, and a job was offered, started and has run."""
        names = [name for name, kind in self._settings.synthetic_kinds.items() if kind == self.name]
        jobs_s = [plan.ready_s + plan.limits.running_s for plan in map(self._plan, names)]
        return math.ceil(self.needs(names).prepare_s + max(jobs_s, default=0.0)) + _SPARE_S

    def _plan(self, executor_class: str) -> Plan:
        settings = self._settings
        limits = Limits(_TRANSFER_S, settings.prompts_running_s, _TRANSFER_S, leeway_s=settings.leeway_s)
        spin_up_s = CATALOGUE[executor_class].spin_up_s
        return Plan(limits, spin_up_s, settings.startup_s, settings.reservation_s, is_streaming=False)

    def _objects(self) -> S3Objects:
        if self._opened is None:
            self._opened = S3Objects(objects_settings(self._settings), self._parts.http)
        return self._opened


def compared(body: bytes, asked: Collection[str], expected: Mapping[str, str]) -> Finding:
    """What an executor's answers to the prompts ``asked`` are worth; ``expected`` are those we know."""
    answers = read_answers(body)
    if isinstance(answers, str):
        return Finding(Outcome.FAILED, answers)
    if not answers.keys() <= set(asked):
        return Finding(Outcome.FAILED, "answered other prompts than it was given")
    missing = sum(prompt not in answers for prompt in asked)
    differ = sum(answers.get(prompt, answer) != answer for prompt, answer in expected.items())
    wrong = [f"{missing} of {len(asked)} answers are missing"] if missing else []
    if differ:
        wrong.append(f"{differ} of {len(expected)} answers compared differ from the trusted miner's")
    return Finding(Outcome.FAILED, ", ".join(wrong)) if wrong else Finding(Outcome.PASSED, "")


def read_answers(body: bytes) -> Mapping[str, str] | str:
    """Answers by prompt id, or what is wrong with ``body``."""
    try:
        answers = json.loads(body)
    except (ValueError, RecursionError):
        return "answers are no JSON"
    if not isinstance(answers, dict) or not all(isinstance(text, str) for text in answers.values()):
        return "answers are no JSON object of texts"
    return answers
