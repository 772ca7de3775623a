"""What a kind of synthetic job has to do; kinds are plug-ins, chosen by class in the settings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Protocol

from horde_agents.agents.validator.parts import Parts
from horde_agents.runtime.settings import SettingsWrong
from horde_agents.scoring.facts import Outcome

#: The kinds that come with Horde, by their short names.
_SHIPPED: Final = {
    "digest": "horde_agents.agents.validator.synthetic.digest:DigestKind",
    "llm_prompts": "horde_agents.agents.validator.prompts.kind:PromptsKind",
}


class KindUnknown(SettingsWrong):
    """The settings name no such kind; the text says what is wrong with it."""


class KindNotReady(Exception):
    """A kind cannot make tasks now; the text says why, and no miner is to blame."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one executor shall do.

    ``request`` is a job request as users post it; ``secret`` says what is expected and stays here.
    """

    request: Mapping[str, Any]
    secret: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class JobReport:
    """What an executor has answered; ``took_us`` counts from the batch's instant, by our own clock."""

    stdout: str
    stderr: str
    artifacts: Mapping[str, str]
    took_us: int
    executor_class: str
    miner_hotkey: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The judgement of an answer: passed, failed, or not run where something outside was at fault."""

    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class Needs:
    """Seconds that a kind takes: to make a batch's tasks, and for one job from the batch's instant on.

    A batch begins so much earlier and keeps so much clear; settings may grant more, never less.
    """

    prepare_s: float = 0.0
    running_s: float = 0.0


class SyntheticKind(Protocol):
    """One kind of synthetic job; made once, with the validator's parts."""

    name: str

    def needs(self, executor_classes: Collection[str]) -> Needs:
        """What tasks for these classes take at most."""

    async def prepare(
        self, executor_classes: Mapping[str, int], batch_uuid: str
    ) -> Mapping[str, Sequence[Task]]:
        """Tasks for so many executors of each class, fewer where it cannot make as many.

        Raises:
            KindNotReady: none can be made.
        """

    async def judge(self, task: Task, report: JobReport) -> Finding:
        """What an answer is worth; called once, as soon as the job has ended, while others may still run.

        What the executor left elsewhere is to be read here: it may be another thing later.
        """

    async def clean(self, batch_uuid: str) -> None:
        """Remove what was left outside; called when the batch is over, and once more when its rows go.

        It may know nothing of the batch: it was another process that had prepared it, or none.
        """


def kinds_apart(kinds: Mapping[str, SyntheticKind]) -> list[tuple[SyntheticKind, list[str]]]:
    """Each kind once, with its classes."""
    apart = {id(kind): kind for kind in kinds.values()}.values()
    return [(kind, sorted(name for name in kinds if kinds[name] is kind)) for kind in apart]


def load_kind(path: str, parts: Parts) -> SyntheticKind:
    """The kind of a name or of ``package.module:Class``.

    Raises:
        KindUnknown: no such module or class.
    """
    module_name, _, class_name = _SHIPPED.get(path, path).partition(":")
    try:
        made = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        known = ", ".join(sorted(_SHIPPED))
        raise KindUnknown(
            f"Setting synthetic_kinds names {path!r}: {error}; use {known} or 'package.module:Class'."
        ) from error
    kind: SyntheticKind = made(parts)
    return kind
