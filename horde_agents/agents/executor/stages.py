"""One attempt from its image to its report: one stage after another, each within the running budget."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from horde_agents.agents.executor.capture import Capture
from horde_agents.agents.executor.container import JobContainer
from horde_agents.agents.executor.outcome import StageFailed, horde_fault, job_fault
from horde_agents.agents.executor.outputs import collect_artifacts
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.executor.uploads import upload_outputs
from horde_agents.agents.executor.volumes import place_volumes
from horde_agents.agents.executor.workspace import Workspace, clear
from horde_agents.clients.docker import Engine, EngineFault, Image, ImageMissing
from horde_agents.jobs.budget import STARTUP_S, RunningBudget
from horde_agents.jobs.classes import CATALOGUE
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

Tell = Callable[[JobEvent], Awaitable[None]]


@dataclass(slots=True)
class JobRun:
    """One attempt on this machine; ``tell`` gets each event as it happens."""

    engine: Engine
    settings: ExecutorSettings
    tell: Tell
    stage: Stage = Stage.EXECUTOR_STARTUP
    begun_s: float = field(default_factory=monotonic_s)
    _made: tuple[JobContainer, Workspace] | None = None

    async def prepare(self, image_name: str) -> Image:
        """Have the image here, by digest.

        Raises:
            StageFailed: it cannot be had; the user's fault or this node's.
        """
        limit_s = CATALOGUE[self.settings.executor_class].spin_up_s + STARTUP_S
        with _engine_faults():
            async with _within(monotonic_s() + limit_s, self.stage, limit_s):
                image = await self.engine.image(image_name)
        await self.tell(ExecutorReady(Role.EXECUTOR))
        return image

    async def run(self, spec: JobSpec, image: Image) -> Finished:
        """Everything after *executor ready*; the caller calls ``clean_up`` once it has reported the end.

        Raises:
            StageFailed: the job cannot be completed; by then nothing of it is left.
        """
        workspace = Workspace.make(self.settings.work_dir, self.settings.slot_id, spec.uuid)
        container = JobContainer(self.engine, self.settings, workspace, Capture())
        self._made = (container, workspace)
        budget = RunningBudget(monotonic_s() + spec.limits.leeway_s)
        try:
            with _engine_faults():
                await self._volumes(spec, workspace, budget)
                await self._execute(spec, image, container, budget)
                return await self._results(spec, workspace, container, budget)
        except BaseException:
            await self.clean_up()
            raise

    async def clean_up(self) -> None:
        """Remove container and directories; runs to its end even when the job is being cancelled."""
        if self._made is None:
            return
        (container, workspace), self._made = self._made, None

        async def clean() -> None:
            try:
                await container.remove()
            finally:
                await asyncio.to_thread(clear, workspace.root)

        await asyncio.shield(asyncio.create_task(clean()))

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
        artifacts = collect_artifacts(workspace.artifacts, spec.artifacts_dir) if spec.artifacts_dir else {}
        try:
            async with _within(budget.extend(spec.limits.upload_s), self.stage, spec.limits.upload_s):
                if spec.uploads or spec.system_output:
                    _write_logs(workspace.output, stdout, stderr)
                answers = await upload_outputs(
                    spec, workspace.output, allow_private=self.settings.allow_private_addresses
                )
        except StageFailed as failure:
            if isinstance(failure.event, JobFailed):
                raise StageFailed(container.with_output(failure.event)) from failure
            raise
        return Finished(Role.EXECUTOR, stdout, stderr, artifacts, answers)


def _write_logs(folder: Path, stdout: str, stderr: str) -> None:
    """The job may have put a link or folder of these names there: never write through it."""
    for name, text in (("stdout.txt", stdout), ("stderr.txt", stderr)):
        path = folder / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        if not path.exists():
            path.write_text(text)


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
    except ImageMissing as error:
        raise job_fault(
            JobFaultReason.DOWNLOAD_FAILED,
            Stage.EXECUTOR_STARTUP,
            f"The image cannot be had: {error}",
            Cause.IMAGE_NOT_FOUND,
        ) from error
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
