"""One executor: cleans its slot, connects, waits warm, runs one job, reports, ends. The only wiring."""

import asyncio
import contextlib
import math
import signal
from typing import Final

from horde_agents.agents.executor.address_book import AddressBook
from horde_agents.agents.executor.container import leftovers
from horde_agents.agents.executor.link import MinerLink, MinerLost
from horde_agents.agents.executor.outcome import StageFailed
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.executor.stages import JobRun, cancelled_event, stopped_event
from horde_agents.agents.executor.workspace import clear, slot_folder
from horde_agents.clients.docker import DockerEngine, Engine
from horde_agents.jobs.events import Finished, HordeFailed, JobEvent
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import Role
from horde_agents.protocol.job_frames import V0InitialJobRequest, limits_of
from horde_agents.protocol.miner_executor import HordeHeartbeat, job_spec
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: Seconds to wait for the miner to acknowledge the final report.
_ACK_S: Final = 60.0
#: The same, when the executor has been told to stop.
_LAST_ACK_S: Final = 3.0
#: Seconds an idle executor waits for its miner to let it go.
_PARTING_S: Final = 1.0
#: Seconds, on top of its class's spin-up, after which an executor that is ready gives up on the job's
#: request: all of a batch wait for the slowest of their class.
_REQUEST_S: Final = 120.0
#: How the holder, and the kernel when the holder is gone, tell an executor to end at once.
STOP_NOW: Final = signal.SIGINT
_log = get_logger(__name__)


async def serve_one_job(
    settings: ExecutorSettings,
    book: AddressBook | None = None,
    idle_s: float = math.inf,
    *,
    slot_is_free: bool = False,
) -> bool:
    """Live as one executor: at most one job, then return; without one, after ``idle_s``.

    Returns whether the slot is left free, which the slot's next executor need not look up then
    (``slot_is_free``). GPUs are looked up always: another slot may have had some of them. After a job that
    failed it looks, too, and so takes no other from its miner while the container engine is away or hangs.

    Raises:
        EngineFault: the container engine is away, so the slot cannot be served.
    """
    engine = DockerEngine()
    if settings.gpu_uuids or not slot_is_free:
        await free_slot(engine, settings)
    link = MinerLink(settings, book or AddressBook(settings.miners))
    leave, stop = asyncio.Event(), asyncio.Event()
    _listen_for_signals(leave, stop, settings.drain_s)
    keeping = asyncio.create_task(link.keep(), name="miner link")
    try:
        offer = await _offered(link, leave, keeping, idle_s)
        return offer is None or await _serve(offer, link, engine, settings, stop, keeping)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def free_slot(engine: Engine, settings: ExecutorSettings) -> None:
    """End what an earlier executor of this slot, or of one of its GPUs, left behind, and nothing else."""
    for container in await leftovers(engine, settings):
        _log.warning("ending a leftover container", container=container[:12], slot=settings.slot_id)
        await engine.remove(container)
    await asyncio.to_thread(clear, slot_folder(settings.work_dir, settings.slot_id))


async def _serve(
    offer: V0InitialJobRequest,
    link: MinerLink,
    engine: Engine,
    settings: ExecutorSettings,
    stop: asyncio.Event,
    keeping: "asyncio.Task[None]",
) -> bool:
    run = JobRun(engine, settings, link.tell)
    beating = asyncio.create_task(_beat(run, link, offer.job_uuid))
    work = asyncio.create_task(_work(offer, run, link))
    cancel = asyncio.create_task(link.cancelled.get())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, cancel, stopping, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait([work])
        final = _final(work, cancel, keeping)
        _log.info("attempt over", job=offer.job_uuid, outcome=type(final).__name__)
        if not isinstance(final, Finished):
            await run.clean_up()  # a job that failed has ended before anybody hears of it
        if not keeping.done():
            await link.tell(final)
        await run.clean_up()  # after the report: the user of a job that finished need not wait for it
        await _acknowledged(link, stopping, keeping)
    finally:
        await run.clean_up()
        for task in (beating, cancel, stopping):
            task.cancel()
    return run.left_nothing and isinstance(final, Finished)


async def _acknowledged(
    link: MinerLink, stopping: "asyncio.Task[bool]", keeping: "asyncio.Task[None]"
) -> None:
    """Wait for the miner to have the report: long, unless this process is told to stop."""
    told = asyncio.create_task(link.acknowledged.wait())
    await asyncio.wait({told, stopping, keeping}, timeout=_ACK_S, return_when=asyncio.FIRST_COMPLETED)
    if not keeping.done():
        await asyncio.wait({told}, timeout=_LAST_ACK_S if stopping.done() else 0)
    told.cancel()


def _final(
    work: "asyncio.Task[JobEvent]", cancel: "asyncio.Task[str]", keeping: "asyncio.Task[None]"
) -> JobEvent:
    if not work.cancelled():
        return work.result()
    if cancel.done():
        return cancelled_event(cancel.result())
    if keeping.done():
        with contextlib.suppress(MinerLost):
            keeping.result()
    return stopped_event()


async def _work(offer: V0InitialJobRequest, run: JobRun, link: MinerLink) -> JobEvent:
    limit_s = _REQUEST_S + run.settings.spin_up_s
    try:
        image = await run.prepare(offer.docker_image or "")
        async with asyncio.timeout(limit_s):
            request = await link.requests.get()
        if request.docker_image and request.docker_image != offer.docker_image:
            image = await run.image(request.docker_image)
        return await run.run(job_spec(offer, request, limits_of(offer)), image)
    except StageFailed as failure:
        return failure.event
    except TimeoutError:
        message = f"No job request came within {limit_s:.0f} s of the executor being ready."
        return HordeFailed(Role.EXECUTOR, HordeFaultReason.UNHANDLED_TIMEOUT, message)
    except Exception as error:  # noqa: BLE001  (outermost frame of a job: whatever broke, its owner must hear)
        _log.exception("attempt broke", job=offer.job_uuid)
        return HordeFailed(
            Role.EXECUTOR, HordeFaultReason.UNHANDLED_EXCEPTION, f"The executor failed: {error}"
        )


async def _beat(run: JobRun, link: MinerLink, job_uuid: str) -> None:
    while True:
        await asyncio.sleep(link.heartbeat_s)
        elapsed_s = monotonic_s() - run.begun_s
        await link.beat(HordeHeartbeat(job_uuid=job_uuid, stage=run.stage, elapsed_s=elapsed_s))


async def _offered(
    link: MinerLink, leave: asyncio.Event, keeping: "asyncio.Task[None]", idle_s: float
) -> V0InitialJobRequest | None:
    """The first offer; ``None`` when the executor is told to leave, or ``idle_s`` pass, before one comes."""
    offer = asyncio.create_task(link.offers.get())
    leaving = asyncio.create_task(leave.wait())
    patience_s = None if idle_s == math.inf else idle_s
    await asyncio.wait({offer, leaving, keeping}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not offer.done() and not keeping.done():
        await _part(link, offer)
    if offer.done():
        return offer.result()
    offer.cancel()
    if keeping.done():
        keeping.result()  # a link that ends by itself has failed: the holder waits before it tries again
    return None


async def _part(link: MinerLink, offer: "asyncio.Task[V0InitialJobRequest]") -> None:
    """Take leave of the miner; an offer that was on its way is still taken."""
    link.parted.clear()
    await link.leave()
    parted = asyncio.create_task(link.parted.wait())
    await asyncio.wait({offer, parted}, timeout=_PARTING_S, return_when=asyncio.FIRST_COMPLETED)
    parted.cancel()


def _listen_for_signals(leave: asyncio.Event, stop: asyncio.Event, drain_s: float) -> None:
    """SIGTERM lets an idle executor go and gives a job ``drain_s``, also one whose offer crossed it."""
    loop = asyncio.get_running_loop()

    def told() -> None:
        leave.set()
        loop.call_later(drain_s, stop.set)

    def told_at_once() -> None:
        leave.set()
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, told)
    loop.add_signal_handler(STOP_NOW, told_at_once)
