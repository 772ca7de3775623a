"""Runs a job's container inside its bounds, and says how it ended."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

from horde_agents.agents.executor.capture import Capture
from horde_agents.agents.executor.outcome import StageFailed
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.executor.workspace import Workspace
from horde_agents.clients.docker import ContainerPlan, Ended, Engine, Image, Sandbox
from horde_agents.jobs.events import JobFailed
from horde_agents.jobs.faults import Cause, JobFaultReason, Stage
from horde_agents.jobs.spec import OUTPUT_DIR, VOLUME_DIR, JobSpec
from horde_agents.jobs.states import Role

SLOT_LABEL: Final = "horde.slot"
JOB_LABEL: Final = "horde.job"
#: Seconds between two looks at how much a job has written.
_WATCH_S: Final = 1.0


@dataclass(slots=True)
class JobContainer:
    """One job's container; the engine removes it with ``remove`` whatever happened."""

    engine: Engine
    settings: ExecutorSettings
    workspace: Workspace
    capture: Capture
    _id: str | None = None

    async def run(self, spec: JobSpec, image: Image) -> None:
        """Run to the end.

        Raises:
            StageFailed: non-zero exit, out of memory or space; the job's own fault.
        """
        self._id = await self.engine.create(self._plan(spec, image))
        ended = await self._watched(self._id)
        if ended.out_of_memory:
            message = f"The container used more than its {self.settings.memory_bytes} bytes of memory."
            raise self._fault(
                JobFaultReason.NONZERO_RETURN_CODE, message, ended.exit_status, Cause.MEMORY_EXCEEDED
            )
        if ended.exit_status != 0:
            message = f"The container ended with exit code {ended.exit_status}."
            raise self._fault(JobFaultReason.NONZERO_RETURN_CODE, message, ended.exit_status, None)

    async def stop(self) -> None:
        """End it now, politely first."""
        if self._id:
            await self.engine.stop(self._id, self.settings.stop_grace_s)

    async def remove(self) -> None:
        """Leave nothing of it on the machine."""
        if self._id:
            await self.engine.remove(self._id)

    async def _watched(self, container: str) -> Ended:
        over: asyncio.Future[StageFailed] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(container, over))
            output = group.create_task(self.engine.start(container, self.capture.take))
            await _first(output, over)
            if over.done():
                await self.engine.stop(container, self.settings.stop_grace_s)
            await output
            ended = await self.engine.ended(container)
            watch.cancel()
        if over.done():
            raise over.result()
        return ended

    async def _watch(self, container: str, over: "asyncio.Future[StageFailed]") -> None:
        while not over.done():
            await asyncio.sleep(_WATCH_S)
            printed = self.capture.total_bytes
            if printed > self.settings.output_bytes:
                message = f"The container printed {printed} bytes; {self.settings.output_bytes} are allowed."
                over.set_result(self._fault(JobFaultReason.UNKNOWN, message, None, Cause.SPACE_EXCEEDED))
                return
            written = await asyncio.to_thread(self.workspace.written_bytes)
            written += await self.engine.written_bytes(container)
            if written > self.settings.space_bytes:
                message = f"The job has written {written} bytes; {self.settings.space_bytes} are allowed."
                over.set_result(self._fault(JobFaultReason.UNKNOWN, message, None, Cause.SPACE_EXCEEDED))

    def _fault(
        self, reason: JobFaultReason, message: str, exit_status: int | None, cause: Cause | None
    ) -> StageFailed:
        context = {"cause": cause.value} if cause else {}
        event = JobFailed(Role.EXECUTOR, reason, Stage.EXECUTION, message, exit_status, context=context)
        return StageFailed(self.with_output(event))

    def with_output(self, event: JobFailed) -> JobFailed:
        """The same failure with what the container has printed."""
        return replace(event, stdout=self.capture.stdout.text(), stderr=self.capture.stderr.text())

    def _plan(self, spec: JobSpec, image: Image) -> ContainerPlan:
        settings = self.settings
        binds = {str(self.workspace.volume): VOLUME_DIR, str(self.workspace.output): OUTPUT_DIR}
        if spec.artifacts_dir:
            binds[str(self.workspace.artifacts)] = spec.artifacts_dir
        args = spec.args
        if spec.raw_script is not None and not args:
            args = ("python", "-c", spec.raw_script)
        return ContainerPlan(
            name=f"horde-{spec.uuid}",
            image=image,
            args=args,
            env=spec.env,
            binds=binds,
            labels={SLOT_LABEL: settings.slot_id, JOB_LABEL: spec.uuid},
            sandbox=Sandbox(
                settings.memory_bytes,
                settings.cpus,
                settings.pids,
                settings.tmp_bytes,
                tuple(settings.gpu_uuids) if spec.gpu else (),
            ),
        )


async def _first(work: "asyncio.Future[None]", signal: "asyncio.Future[StageFailed]") -> None:
    waits: list[asyncio.Future[Any]] = [work, signal]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
