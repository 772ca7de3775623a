"""Executors that upload their answers after they have reported them, while the batch still runs."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.prompts.kind import PromptsKind
from horde_agents.agents.validator.synthetic.kinds import Finding, JobReport, Task
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.volumes import MultiUpload
from horde_agents.testing.object_server import ObjectServer
from horde_agents.testing.scripted_miner import Talk
from tests.fixtures.batches import CLASS, SYNTHETIC, answer, working
from tests.fixtures.prompts import Runner, parts_of, upload
from tests.fixtures.validator import Stage

#: A late executor waits so long for its answer to be looked at before it uploads another.
_PATIENCE_S = 3.0


class _Watched(PromptsKind):
    """The kind, and a word on when it has looked at whose answer."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.answers: dict[str, bytes] = {}
        self.has_judged: dict[str, asyncio.Event] = {}

    async def prepare(
        self, executor_classes: Mapping[str, int], batch_uuid: str
    ) -> Mapping[str, Sequence[Task]]:
        tasks = await super().prepare(executor_classes, batch_uuid)
        for task in tasks[CLASS]:
            url = task.request["uploads"][0]["url"]
            self.answers[url] = json.dumps(task.secret["answers"]).encode()
        return tasks

    async def judge(self, task: Task, report: JobReport) -> Finding:
        found = await super().judge(task, report)
        self.has_judged[report.miner_hotkey].set()
        return found


async def _ready(talk: Talk) -> tuple[str, str]:
    """The attempt and where its answers go, once the batch has fired."""
    await talk.greet()
    uuid = await talk.accept()
    await talk.send(frames.V0ExecutorReadyRequest(job_uuid=uuid))
    uploads = (await talk.until(frames.V0JobRequest)).output_upload
    assert isinstance(uploads, MultiUpload)
    return uuid, uploads.uploads[0].url


@pytest.mark.parametrize(
    ("first", "why"),
    [(None, "uploaded no answers"), (b"{}", "3 of 3 answers are missing")],
    ids=["uploaded", "replaced"],
)
async def test_right_answers_after_the_jobs_end_do_not_count(
    stage: Stage, object_server: ObjectServer, tmp_path: Path, first: bytes | None, why: str
) -> None:
    is_late_done = asyncio.Event()
    kinds: dict[str, _Watched] = {}

    async def late(talk: Talk) -> None:
        uuid, url = await _ready(talk)
        if first is not None:
            await upload(url, first)
        await answer(talk, uuid, "")
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await kinds[CLASS].has_judged[talk.miner.hotkey].wait()
        await upload(url, kinds[CLASS].answers[url])
        is_late_done.set()

    async def honest(talk: Talk) -> None:
        uuid, url = await _ready(talk)
        await upload(url, kinds[CLASS].answers[url])
        await is_late_done.wait()
        await answer(talk, uuid, "")

    miners = [await stage.miner("late", script=late), await stage.miner("honest", script=honest)]
    short: dict[str, Any] = {"prompts_running_s": 5, "objects_call_s": 1.0, "synthetic_prepare_s": 24.0}
    parts = await parts_of(stage, object_server, tmp_path, *miners, **SYNTHETIC | short)
    parts.run_trusted = Runner().run
    kinds[CLASS] = _Watched(parts)
    kinds[CLASS].has_judged = {miner.hotkey: asyncio.Event() for miner in miners}
    async with working(parts, kinds=kinds) as work:
        [batch] = await work.until_over()
        found = {job.miner_hotkey: (job.outcome, job.why) for job in await work.jobs(batch)}
    assert found == {miners[0].hotkey: ("failed", why), miners[1].hotkey: ("passed", "")}
