"""The container engine goes away: each time the node is at fault, by name, and nothing hangs."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from horde_agents.agents.executor.app import free_slot
from horde_agents.agents.executor.outcome import StageFailed
from horde_agents.agents.executor.stages import JobRun
from horde_agents.clients.docker import ContainerPlan, DockerEngine
from horde_agents.clients.docker_faults import EngineAway
from horde_agents.jobs.events import Finished, HordeFailed, VolumesReady
from horde_agents.jobs.faults import Cause
from tests.fixtures.executor import Slot, cause, until

pytestmark = [
    pytest.mark.docker,
    # the SDK drops sockets on which no daemon answered without closing them
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_DAEMON = "/var/run/docker.sock"


@pytest.fixture(autouse=True)
def dropped_sockets() -> Iterator[None]:
    """Have the SDK's dropped sockets warned of here, where that is ignored, and not in a later test."""
    yield
    gc.collect()


class Wire:
    """A socket in front of the daemon's that can be cut."""

    def __init__(self) -> None:
        self.open: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None

    async def cut(self) -> None:
        """As if the daemon had been killed."""
        assert self.server is not None
        self.server.close()
        for writer in self.open:
            writer.transport.abort()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry both directions."""
        to_reader, to_writer = await asyncio.open_unix_connection(_DAEMON)
        self.open += [writer, to_writer]
        with contextlib.suppress(ConnectionError):
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(reader, to_writer))
                group.create_task(_carry(to_reader, writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@asynccontextmanager
async def wire(
    folder: Path, slot: Slot, monkeypatch: pytest.MonkeyPatch, **engine: Any
) -> AsyncIterator[Wire]:
    """Put a wire between ``slot`` and the daemon."""
    made = Wire()
    path = folder / "docker.sock"
    made.server = await asyncio.start_unix_server(made.connected, path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    through = slot.engine = DockerEngine(**engine)
    try:
        yield made
    finally:
        monkeypatch.delenv("DOCKER_HOST")
        await through.close()
        await made.cut()
        slot.engine = DockerEngine()


async def test_an_engine_that_is_away_is_the_nodes_fault(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{slot.settings.work_dir}/none.sock")
    away = Slot(slot.settings, slot.image)
    end = await away.run_without_check(away.spec("true"))
    assert isinstance(end, HordeFailed)
    assert cause(end) == Cause.DOCKER_FAILED


async def test_an_engine_that_dies_during_a_job_is_the_nodes_fault(
    slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(tmp_path, slot, monkeypatch) as made:
        running = asyncio.create_task(slot.run_without_check(slot.sh("echo begun; sleep 60")))
        await until(lambda: any(isinstance(event, VolumesReady) for event in slot.told))
        await asyncio.sleep(0.5)  # so that the cut comes while the container runs, most of the time
        await made.cut()
        end = await asyncio.wait_for(running, 20)
    assert isinstance(end, HordeFailed), end
    assert cause(end) == Cause.DOCKER_FAILED


async def test_a_silent_job_outlasts_the_engines_own_time_limit(
    slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(tmp_path, slot, monkeypatch, call_s=1):
        end = await slot.run_without_check(slot.sh("sleep 3; echo done"))
    assert isinstance(end, Finished), end
    assert end.stdout == "done\n"


class WatchedEngine(DockerEngine):
    """The real engine; ``creating`` is set when it has been asked for a container."""

    def __init__(self) -> None:
        super().__init__()
        self.creating = asyncio.Event()

    async def create(self, plan: ContainerPlan) -> str:
        self.creating.set()
        return await super().create(plan)


async def test_a_job_cancelled_while_its_container_is_made_leaves_none(slot: Slot) -> None:
    await slot.engine.close()
    slot.engine = engine = WatchedEngine()
    running = asyncio.create_task(slot.run(slot.sh("sleep 60")))  # run checks that nothing is left
    await asyncio.wait_for(engine.creating.wait(), 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_job_cancelled_soon_after_its_container_is_made_leaves_none(slot: Slot) -> None:
    for delay_s in (0.02, 0.05, 0.1, 0.2):  # the moments between create and start differ by machine
        running = asyncio.create_task(slot.run(slot.sh("sleep 60")))
        await until(lambda: any(isinstance(event, VolumesReady) for event in slot.told))
        await asyncio.sleep(delay_s)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


class SlowEngine(DockerEngine):
    """The real engine, whose answer to the making of a container comes too late."""

    async def create(self, plan: ContainerPlan) -> str:
        await super().create(plan)
        raise EngineAway("no answer")


async def test_a_container_that_was_made_without_an_answer_is_looked_for(slot: Slot) -> None:
    await slot.engine.close()
    slot.engine = SlowEngine()
    job = JobRun(slot.engine, slot.settings, slot._tell)
    spec = slot.spec("true")
    image = await job.prepare(spec.image)
    with pytest.raises(StageFailed):
        await job.run(spec, image)
    await job.clean_up()
    assert not job.left_nothing
    await free_slot(slot.engine, slot.settings)
    slot.check_nothing_left()
