"""The kind ``digest``: the container prints the SHA-256 of a fresh text, which nobody can know before.

It shows that an executor runs containers in time, not what hardware it has.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.synthetic.kinds import Finding, JobReport, KindNotReady, Needs, Task
from horde_agents.scoring.facts import Outcome

_LIMIT_S: Final = 10
_SCRIPT: Final = 'printf %s "$TEXT" | sha256sum | cut -d " " -f 1'


class DigestKind:
    """A task of its own for each executor."""

    name = "digest"

    def __init__(self, parts: Parts, limit_s: int = _LIMIT_S) -> None:
        self._image, self._limit_s = parts.settings.synthetic_image, limit_s

    def needs(self, executor_classes: Collection[str]) -> Needs:
        """Tasks are made at once; how long they run is for the settings to say."""
        return Needs()

    async def prepare(
        self, executor_classes: Mapping[str, int], batch_uuid: str
    ) -> Mapping[str, Sequence[Task]]:
        if not self._image:
            raise KindNotReady("The setting synthetic_image names no image with a shell and sha256sum.")
        return {name: [self._task(name) for _ in range(count)] for name, count in executor_classes.items()}

    async def judge(self, task: Task, report: JobReport) -> Finding:
        if report.stdout.strip() == task.secret["digest"]:
            return Finding(Outcome.PASSED, "")
        return Finding(Outcome.FAILED, "printed something else than the digest")

    async def clean(self, batch_uuid: str) -> None:
        """Nothing is left outside."""

    def _task(self, executor_class: str) -> Task:
        text = secrets.token_hex(32)
        request: dict[str, Any] = {
            "executor_class": executor_class,
            "docker_image": self._image,
            "args": ["sh", "-c", _SCRIPT],
            "env": {"TEXT": text},
            "download_time_limit": 1,
            "execution_time_limit": self._limit_s,
            "upload_time_limit": 1,
        }
        return Task(request, {"digest": hashlib.sha256(text.encode()).hexdigest()})
