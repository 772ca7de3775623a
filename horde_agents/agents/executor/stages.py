"""One attempt from its image to its report: one stage after another, each within the running budget."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from horde_agents.agents.executor.binds import artifacts_folder
from horde_agents.agents.executor.capture import LOG_NAMES, Capture
from horde_agents.agents.executor.container import JobContainer
from horde_agents.agents.executor.outcome import StageFailed, horde_fault, job_fault
from horde_agents.agents.executor.outputs import OutputRefused, collect_artifacts
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.executor.uploads import upload_outputs
from horde_agents.agents.executor.volumes import place_volumes
from horde_agents.agents.executor.workspace import Workspace, clear
from horde_agents.clients.docker import Engine, Image
from horde_agents.clients.docker_faults import EngineFault, ImageMissing, ImageRefused, PlanRefused
from horde_agents.jobs.budget import STARTUP_S, Limits, RunningBudget
from horde_agents.jobs.events import (
    ExecutionDone,
    ExecutorReady,
    Finished,
    HordeFailed,
    JobEvent,
    JobFailed,
    VolumesReady,
)
from horde_agents.jobs.faults import Cause, HordeFaultReason, JobFaultReason, Stage
from horde_agents.jobs.spec import JobSpec
from horde_agents.jobs.states import Role
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: Seconds kept of the leeway for stopping a container and for the report's way to the validator.
_REPORTING_S: Final = 3.0

Tell = Callable[[JobEvent], Awaitable[None]]
_log = get_logger(__name__)


@dataclass(slots=True)
class JobRun:
    """One attempt on this machine; ``tell`` gets each event as it happens."""

    engine: Engine
    settings: ExecutorSettings
    tell: Tell
    stage: Stage = Stage.EXECUTOR_STARTUP
    begun_s: float = field(default_factory=monotonic_s)
    left_nothing: bool = True
    _workspace: Workspace | None = None
    _container: JobContainer | None = None

    async def prepare(self, image_name: str) -> Image:
        """Have the image here, by digest.

        Raises:
            StageFailed: it cannot be had; the user's fault or this node's.
        """
        limit_s = self.settings.spin_up_s + STARTUP_S
        async with _within(monotonic_s() + limit_s, self.stage, limit_s):
            image = await self.image(image_name)
        await self.tell(ExecutorReady(Role.EXECUTOR))
        return image

    async def image(self, name: str) -> Image:
        """``name`` by digest, as in ``prepare``.

        Raises:
            StageFailed: it cannot be had.
        """
        with _engine_faults():
            return await self.engine.image(name)

    async def run(self, spec: JobSpec, image: Image) -> Finished:
        """Everything after *executor ready*; ``clean_up`` has to follow, whatever comes of it.

        Raises:
            StageFailed: the job cannot be completed.
        """
        if spec.streaming_certificate is not None:
            raise horde_fault(
                HordeFaultReason.STREAMING_FAILED, "This executor does not serve streaming jobs."
            )
        self._workspace = workspace = Workspace.make(self.settings.work_dir, self.settings.slot_id)
        sends = bool(spec.uploads or spec.system_output)
        capture = Capture.into(workspace.root, self.settings.output_bytes) if sends else Capture()
        self._container = container = JobContainer(self.engine, self.settings, workspace, capture)
        budget = RunningBudget(monotonic_s() + _own_leeway_s(spec.limits))
        with _engine_faults():
            await self._volumes(spec, workspace, budget)
            await self._execute(spec, image, container, budget)
            return await self._results(spec, workspace, container, budget)

    async def clean_up(self) -> None:
        """Remove container and directories; what resists is left to the slot's next executor."""
        container, workspace = self._container, self._workspace
        self._container = self._workspace = None
        try:
            if container is not None:
                await container.remove()
                container.capture.close()
            if workspace is not None:
                await asyncio.to_thread(clear, workspace.root)
        except (EngineFault, OSError) as error:
            self.left_nothing = False
            _log.warning("not cleaned up, the next executor will", error=str(error))

    async def _volumes(self, spec: JobSpec, workspace: Workspace, budget: RunningBudget) -> None:
        self.stage = Stage.VOLUME_DOWNLOAD
        async with _within(budget.extend(spec.limits.download_s), self.stage, spec.limits.download_s):
            await place_volumes(
                spec.volumes,
                workspace.volume,
                self.settings.space_bytes,
                allow_private=self.settings.allow_private_addresses,
            )
        await self.tell(VolumesReady(Role.EXECUTOR))

    async def _execute(
        self, spec: JobSpec, image: Image, container: JobContainer, budget: RunningBudget
    ) -> None:
        self.stage = Stage.EXECUTION
        limit_s = spec.limits.execution_s + spec.limits.streaming_start_s
        try:
            async with _within(budget.extend(limit_s), self.stage, limit_s):
                await container.run(spec, image)
        except StageFailed as failure:
            if isinstance(failure.event, JobFailed) and failure.event.stdout is None:
                raise StageFailed(container.with_output(failure.event)) from failure
            raise
        await self.tell(ExecutionDone(Role.EXECUTOR))

    async def _results(
        self, spec: JobSpec, workspace: Workspace, container: JobContainer, budget: RunningBudget
    ) -> Finished:
        self.stage = Stage.RESULT_UPLOAD
        stdout, stderr = container.capture.stdout.text(), container.capture.stderr.text()
        try:
            async with _within(budget.extend(spec.limits.upload_s), self.stage, spec.limits.upload_s):
                artifacts = await _artifacts(spec, workspace)
                container.capture.close()
                if spec.uploads or spec.system_output:
                    await asyncio.to_thread(_place_logs, workspace)
                answers = await upload_outputs(
                    spec, workspace.output, allow_private=self.settings.allow_private_addresses
                )
        except StageFailed as failure:
            if isinstance(failure.event, JobFailed):
                raise StageFailed(container.with_output(failure.event)) from failure
            raise
        return Finished(Role.EXECUTOR, stdout, stderr, artifacts, answers)


async def _artifacts(spec: JobSpec, workspace: Workspace) -> dict[str, str]:
    if not spec.artifacts_dir:
        return {}
    folder = artifacts_folder(spec, workspace)
    try:
        return await asyncio.to_thread(collect_artifacts, folder, spec.artifacts_dir)
    except OutputRefused as error:
        raise job_fault(
            JobFaultReason.UNKNOWN, Stage.RESULT_UPLOAD, str(error), Cause.SPACE_EXCEEDED
        ) from error


def _place_logs(workspace: Workspace) -> None:
    """A folder of that name stays the job's; anything else gives way, and no link is followed."""
    for name in LOG_NAMES:
        with contextlib.suppress(IsADirectoryError):
            (workspace.root / name).replace(workspace.output / name)


def _own_leeway_s(limits: Limits) -> float:
    """The part of the leeway that jobs get; the rest is for ending one that overruns and telling so in time.

    A validator counts the same budget; without this its own deadline passes first, and blames the horde.
    """
    return max(limits.leeway_s - _REPORTING_S, 0.0)


@asynccontextmanager
async def _within(deadline_s: float, stage: Stage, limit_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(max(deadline_s - monotonic_s(), 0.0)):
            yield
    except TimeoutError as error:
        message = (
            f"The stage {stage} took longer than its limit of {limit_s:g} s and what was left before it."
        )
        raise job_fault(JobFaultReason.TIMEOUT, stage, message, Cause.STAGE_TIMEOUT) from error


@contextmanager
def _engine_faults() -> Iterator[None]:
    """Says whose fault it is when the container engine does not do its part."""
    try:
        yield
    except (ImageMissing, ImageRefused) as error:
        cause = Cause.IMAGE_REFUSED if isinstance(error, ImageRefused) else Cause.IMAGE_NOT_FOUND
        raise job_fault(
            JobFaultReason.DOWNLOAD_FAILED,
            Stage.EXECUTOR_STARTUP,
            f"The image cannot be had: {error}",
            cause,
        ) from error
    except PlanRefused as error:
        message = f"The container cannot be started as asked: {error}"
        raise job_fault(JobFaultReason.UNKNOWN, Stage.EXECUTION, message) from error
    except EngineFault as error:
        raise horde_fault(
            HordeFaultReason.GENERIC_ERROR, f"The container engine failed: {error}", Cause.DOCKER_FAILED
        ) from error


def cancelled_event(message: str) -> JobFailed:
    """The report of an attempt that was taken back."""
    return JobFailed(
        Role.EXECUTOR,
        JobFaultReason.UNKNOWN,
        message=message or "cancelled",
        context={"cause": Cause.CANCELLED},
    )


def stopped_event() -> HordeFailed:
    """The report of an attempt whose node is being shut down."""
    return HordeFailed(
        Role.EXECUTOR,
        HordeFaultReason.EXECUTOR_DISCONNECTED,
        "The executor was told to stop before the job ended.",
        {"cause": Cause.AGENT_RESTARTED},
    )
