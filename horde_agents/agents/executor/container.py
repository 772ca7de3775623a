"""Runs a job's container inside its bounds, and says how it ended."""

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from aiodocker.stream import Stream

from horde_agents.agents.executor.binds import binds_of, names_of
from horde_agents.agents.executor.capture import Capture
from horde_agents.agents.executor.hidden_files import hidden_bytes
from horde_agents.agents.executor.outcome import StageFailed
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.executor.workspace import HOSTNAME, TooDeep, Workspace
from horde_agents.clients.docker import ContainerPlan, Ended, Engine, Image, Sandbox
from horde_agents.clients.docker_faults import EngineAway, EngineFault
from horde_agents.jobs.events import JobFailed
from horde_agents.jobs.faults import Cause, JobFaultReason, Stage
from horde_agents.jobs.spec import JobSpec
from horde_agents.jobs.states import Role

SLOT_LABEL: Final = "horde.slot"
JOB_LABEL: Final = "horde.job"
_WORK_LABEL: Final = "horde.work_dir"
#: A label of this kind for each GPU of the slot.
_DEVICE_LABEL: Final = "horde.device."
#: A process that SIGKILL ended, as a shell and Docker put it.
_KILLED: Final = 137
#: Seconds between two looks at how much a job has written.
_WATCH_S: Final = 1.0


def slot_labels(settings: ExecutorSettings) -> dict[str, str]:
    """What every container of the slot carries, and no other.

    A GPU is in one slot only. Slots without are named by their miner, and another miner on this
    machine may name its own alike: those are told apart by their work directories.
    """
    labels = {SLOT_LABEL: settings.slot_id}
    return labels if settings.gpu_uuids else {**labels, _WORK_LABEL: str(settings.work_dir)}


def device_labels(settings: ExecutorSettings) -> dict[str, str]:
    """What every container that may have one of the slot's GPUs carries: a label for each.

    Slots overlap where classes have several GPUs, so a slot of before may have had only some of them.
    """
    return {f"{_DEVICE_LABEL}{uuid}": "held" for uuid in settings.gpu_uuids}


async def leftovers(engine: Engine, settings: ExecutorSettings) -> list[str]:
    """Ids of the containers that earlier executors of this slot, or of one of its GPUs, have left.

    Raises:
        EngineFault: the container engine is away.
    """
    found = await engine.labelled(slot_labels(settings))
    for label, value in device_labels(settings).items():
        found += await engine.labelled({label: value})
    return list(dict.fromkeys(found))


@dataclass(slots=True)
class JobContainer:
    """One job's container; ``remove`` leaves nothing of it, whatever happened."""

    engine: Engine
    settings: ExecutorSettings
    workspace: Workspace
    capture: Capture
    _creating: "asyncio.Task[str] | None" = None
    _unmeasured: int = 0

    async def run(self, spec: JobSpec, image: Image) -> None:
        """Run to the end.

        Raises:
            StageFailed: non-zero exit, out of memory or space; the job's own fault.
        """
        self._creating = asyncio.create_task(self.engine.create(self._plan(spec, image)))
        ended = await self._watched(await asyncio.shield(self._creating))
        if ended.out_of_memory:
            message = f"The container used more than its {self.settings.memory_bytes} bytes of memory."
            raise self._fault(
                JobFaultReason.NONZERO_RETURN_CODE, message, ended.exit_status, Cause.MEMORY_EXCEEDED
            )
        if ended.exit_status != 0:
            message = f"The container ended with exit code {ended.exit_status}."
            if ended.exit_status == _KILLED:  # Docker's word that it was for memory gets lost once in a while
                bound = f"{self.settings.memory_bytes} bytes of memory"
                message += f" It was killed, as by needing more than its {bound}."
            raise self._fault(JobFaultReason.NONZERO_RETURN_CODE, message, ended.exit_status, None)

    async def remove(self) -> None:
        """Leave nothing of it on the machine, also when it was still being created.

        Raises:
            EngineFault: something may be left.
        """
        if self._creating is None:
            return
        try:
            container = await self._creating
        except EngineAway:
            raise  # it may come to be after all
        except EngineFault:
            return  # it never came to be
        await self.engine.remove(container)
        self._creating = None

    async def _watched(self, container: str) -> Ended:
        output = await self.engine.start(container)
        life = asyncio.create_task(self._life(container, output))
        watch = asyncio.create_task(self._excess(container))
        try:
            await asyncio.wait({life, watch}, return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                ended = life.result()
                excess = await self._excess_of_folders()
                if excess:
                    raise self._too_much(excess)
                return ended
            await self.engine.kill(container)
            raise self._too_much(watch.result())
        finally:
            for task in (life, watch):
                task.cancel()
            await asyncio.wait({life, watch})

    async def _life(self, container: str, output: Stream) -> Ended:
        await self.engine.drain(output, self.capture.take)
        return await self.engine.ended(container)

    async def _excess(self, container: str) -> str:
        """Look again and again, until the job has gone over a bound; says which."""
        while True:
            await asyncio.sleep(_WATCH_S)
            printed = self.capture.total_bytes
            if printed > self.settings.output_bytes:
                return f"The container printed {printed} bytes; {self.settings.output_bytes} are allowed."
            own = await self.engine.written_bytes(container)
            self._unmeasured = self._unmeasured + 1 if own is None else 0
            if self._unmeasured > 1:
                return "The container nested its folders so deeply that they cannot be measured."
            processes = await self.engine.processes(container)
            own = (own or 0) + await asyncio.to_thread(hidden_bytes, processes)
            if excess := await self._excess_of_folders(own):
                return excess

    async def _excess_of_folders(self, other_bytes: int = 0) -> str | None:
        try:
            written = other_bytes + await asyncio.to_thread(self.workspace.written_bytes)
        except TooDeep as error:
            return f"The job's {error}."
        if written <= self.settings.space_bytes:
            return None
        return f"The job has written {written} bytes; {self.settings.space_bytes} are allowed."

    def _too_much(self, message: str) -> StageFailed:
        return self._fault(JobFaultReason.UNKNOWN, message, None, Cause.SPACE_EXCEEDED)

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
        args = spec.args
        if spec.raw_script is not None and not args:
            args = ("python", "-c", spec.raw_script)
        return ContainerPlan(
            name=f"horde-{spec.uuid}",
            image=image,
            args=args,
            env=spec.env,
            binds=binds_of(spec, self.workspace),
            read_only=names_of(self.workspace),
            hostname=HOSTNAME,
            labels={
                **slot_labels(settings),
                **device_labels(settings),
                _WORK_LABEL: str(settings.work_dir),
                JOB_LABEL: spec.uuid,
            },
            sandbox=Sandbox(
                settings.memory_bytes,
                settings.cpus,
                settings.pids,
                settings.tmp_bytes,
                tuple(settings.gpu_uuids) if spec.gpu and not settings.gpus_are_fake else (),
            ),
        )
