"""A real holder and its executors at a miner's listener: one job each, whatever breaks in between."""

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

import pytest

from horde_agents.agents.executor.container import SLOT_LABEL
from horde_agents.agents.miner.certificate import ensure_certificate, server_context
from horde_agents.jobs.faults import Cause, HordeFaultReason
from horde_agents.protocol.job_frames import (
    GenericError,
    HordeCancelJob,
    V0ExecutionDoneRequest,
    V0ExecutorReadyRequest,
    V0HordeFailedRequest,
    V0InitialJobRequest,
    V0JobFailedRequest,
    V0JobFinishedRequest,
    V0VolumesReadyRequest,
)
from horde_agents.protocol.miner_executor import HordeAck, HordeLeaving
from tests.fixtures.executor import Slot, containers, docker, until
from tests.fixtures.executor_miner import TOKEN, ExecutorLink, begin, holding, listening

pytestmark = pytest.mark.docker


def here(slot: Slot) -> list[str]:
    """Containers of the slot."""
    return containers(f"{SLOT_LABEL}={slot.settings.slot_id}")


def running(slot: Slot) -> bool:
    """A container of the slot runs."""
    label = f"label={SLOT_LABEL}={slot.settings.slot_id}"
    return bool(docker("ps", "-q", "--filter", label, "--filter", "status=running"))


async def finished(link: ExecutorLink) -> V0JobFinishedRequest:
    """The final report of a job that went well."""
    await link.expect(V0ExecutionDoneRequest)
    return await link.expect(V0JobFinishedRequest)


async def test_each_job_gets_an_executor_of_its_own(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner) as holder:
        pids = []
        for number in range(2):
            link = await miner.link()
            pids.append(link.hello.pid)
            assert (link.hello.slot_id, link.hello.running_job_uuid) == (slot.settings.slot_id, None)
            uuid = await begin(link, slot, f"echo job {number}; sleep 0.5")
            assert (await finished(link)).docker_process_stdout == f"job {number}\n"
            assert {beat.job_uuid for beat in link.beats} == {uuid}
            await link.send(HordeAck(job_uuid=uuid))
        await miner.link()
        assert len({holder.pid, *pids}) == 3
        assert miner.tokens[0] == f"Bearer {TOKEN}"
        assert TOKEN.encode() not in Path(f"/proc/{holder.pid}/cmdline").read_bytes()
    slot.check_nothing_left()


async def test_a_holder_takes_one_job_and_no_more_from_its_miner_while_its_engine_is_away(
    slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "docker.sock"
    socket.symlink_to("/var/run/docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    async with listening(tmp_path / "miner") as miner, holding(slot, miner):
        well = await miner.link()
        uuid = await begin(well, slot, "echo well")
        await finished(well)
        await well.send(HordeAck(job_uuid=uuid))
        link = await miner.link()
        socket.unlink()
        await link.send(
            V0InitialJobRequest(job_uuid="in-vain", executor_class="always_on.test", docker_image=slot.image)
        )
        report = await link.expect(V0HordeFailedRequest)
        assert (report.context or {})["cause"] == Cause.DOCKER_FAILED
        await link.send(HordeAck(job_uuid="in-vain"))
        await asyncio.sleep(3)
        assert miner.links.empty()
        socket.symlink_to("/var/run/docker.sock")
        await miner.link()


async def test_a_job_outlives_a_broken_link_and_reports_all_again(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner):
        first = await miner.link()
        uuid = await begin(first, slot, "sleep 1; echo survived")
        await first.drop()
        second = await miner.link()
        assert (second.hello.pid, second.hello.running_job_uuid) == (first.hello.pid, uuid)
        await second.expect(V0ExecutorReadyRequest)
        await second.expect(V0VolumesReadyRequest)
        assert (await finished(second)).docker_process_stdout == "survived\n"


async def test_the_final_report_is_repeated_until_it_is_acknowledged(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner):
        first = await miner.link()
        uuid = await begin(first, slot, "echo once")
        await finished(first)
        await first.drop()
        second = await miner.link()
        await second.expect(V0ExecutorReadyRequest)
        await second.expect(V0VolumesReadyRequest)
        await finished(second)
        await second.send(HordeAck(job_uuid=uuid))
        assert (await miner.link()).hello.pid != first.hello.pid


async def test_cancel_ends_the_container_before_it_is_reported(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner):
        link = await miner.link()
        uuid = await begin(link, slot, "trap '' TERM; while true; do sleep 1; done")
        await until(lambda: running(slot))
        await link.send(HordeCancelJob(job_uuid="another"))
        await link.send(HordeCancelJob(job_uuid=uuid, message="taken back"))
        report = await link.expect(V0JobFailedRequest)
        assert (report.message, report.context) == ("taken back", {"cause": Cause.CANCELLED})
        assert here(slot) == []


async def test_a_job_ends_when_its_miner_stays_away(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner, reconnect_grace_s=0.3):
        link = await miner.link()
        await begin(link, slot, "sleep 60")
        await until(lambda: running(slot))
        miner.welcomes = False
        await link.drop()
        await until(lambda: here(slot) == [])
        miner.welcomes = True
        after = await miner.link()
        assert (after.hello.running_job_uuid, after.hello.pid != link.hello.pid) == (None, True)


async def test_after_sigkill_the_next_executor_removes_the_container_and_no_other(
    slot: Slot, tmp_path: Path
) -> None:
    label = f"test.bystander={slot.settings.slot_id}"
    docker(
        "run", "-d", "--rm", "--label", label, "--label", f"{SLOT_LABEL}=other", slot.image, "sleep", "100"
    )
    try:
        async with listening(tmp_path / "miner") as miner, holding(slot, miner):
            link = await miner.link()
            await begin(link, slot, "sleep 60")
            await until(lambda: running(slot))
            os.kill(link.hello.pid, signal.SIGKILL)
            await miner.link()
            slot.check_nothing_left()
            assert len(containers(label)) == 1
    finally:
        docker("rm", "-f", *containers(label))


async def test_sigterm_lets_a_job_finish_within_its_drain_time(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner, drain_s=30) as holder:
        link = await miner.link()
        uuid = await begin(link, slot, "sleep 1; echo finished")
        holder.send_signal(signal.SIGTERM)
        assert (await finished(link)).docker_process_stdout == "finished\n"
        await link.send(HordeAck(job_uuid=uuid))
        assert await holder.wait() == 0
    slot.check_nothing_left()


async def test_an_offer_that_crosses_sigterm_is_served_within_the_drain_time(
    slot: Slot, tmp_path: Path
) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner, drain_s=30) as holder:
        link = await miner.link()
        holder.send_signal(signal.SIGTERM)
        await link.expect(HordeLeaving)
        uuid = await begin(link, slot, "sleep 1; echo finished")
        assert (await finished(link)).docker_process_stdout == "finished\n"
        await link.send(HordeAck(job_uuid=uuid))
        assert await holder.wait() == 0
    slot.check_nothing_left()


async def test_after_the_drain_time_the_job_is_ended_and_reported(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner, drain_s=0.2) as holder:
        link = await miner.link()
        uuid = await begin(link, slot, "sleep 60")
        await until(lambda: running(slot))
        holder.send_signal(signal.SIGTERM)
        report = await link.expect(V0HordeFailedRequest)
        assert report.reason is HordeFaultReason.EXECUTOR_DISCONNECTED
        assert report.context == {"cause": Cause.AGENT_RESTARTED}
        await link.send(HordeAck(job_uuid=uuid))
        assert await holder.wait() == 0
    slot.check_nothing_left()


#: A holder that is told to stop while its first executor is being forked: the hook runs within the fork.
_TOLD_IN_A_FORK = """
import os, signal, sys
from horde_agents.agents.executor.holder import hold_slot
from horde_agents.agents.executor.settings import ExecutorSettings
told = []
def tell_once():
    if not told:
        told.append(True)
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))
os.register_at_fork(before=tell_once)
sys.exit(hold_slot(ExecutorSettings.model_validate_json(sys.stdin.read())))
"""


async def test_sigterm_that_comes_within_a_fork_is_not_lost(slot: Slot) -> None:
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", _TOLD_IN_A_FORK, stdin=pipe)
    try:
        async with asyncio.timeout(60):  # only against a hang: one whose signal is lost goes on for good
            await holder.communicate(slot.settings.model_dump_json().encode())
        assert holder.returncode == 0
    finally:
        if holder.returncode is None:
            holder.kill()
            await holder.wait()


async def test_an_executor_does_not_outlive_its_holder(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner) as holder:
        link = await miner.link()
        uuid = await begin(link, slot, "sleep 60")
        await until(lambda: running(slot))
        holder.kill()
        await link.expect(V0HordeFailedRequest)
        await link.send(HordeAck(job_uuid=uuid))
        await until(
            lambda: not Path(f"/proc/{link.hello.pid}/cmdline").exists() or _is_zombie(link.hello.pid)
        )
    slot.check_nothing_left()


async def test_a_miner_that_closes_instead_of_greeting_is_asked_again_by_the_same_executor(
    slot: Slot, tmp_path: Path
) -> None:
    async with listening(tmp_path / "miner") as miner:
        miner.welcomes = False
        async with holding(slot, miner) as holder:
            await until(lambda: miner.refused >= 3)
            (child,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            miner.welcomes = True
            assert (await miner.link()).hello.pid == int(child)


async def test_an_idle_holder_ends_when_no_miner_that_it_knows_has_answered_for_long(
    slot: Slot, tmp_path: Path
) -> None:
    async with listening(tmp_path / "other") as other:
        # one address is of nobody, the other of a miner with another certificate
        nobody_known = f"127.0.0.1:1/{'ab' * 32},{other.address}/{'ab' * 32}"
        async with holding(slot, other, miners=nobody_known, lonely_s=1) as holder:
            assert await asyncio.wait_for(holder.wait(), 20) == 0
        assert other.tokens == []


async def test_a_holder_whose_miner_answers_or_whose_job_runs_is_not_lonely(
    slot: Slot, tmp_path: Path
) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner, lonely_s=0.5) as holder:
        link = await miner.link()
        await asyncio.sleep(1.5)
        assert holder.returncode is None
        uuid = await begin(link, slot, "sleep 5; echo finished")
        miner.answers = False
        await link.drop()
        await asyncio.sleep(2)
        miner.answers = True
        again = await miner.link()
        assert (again.hello.pid, again.hello.running_job_uuid) == (link.hello.pid, uuid)


async def test_a_malformed_frame_is_answered_and_the_job_goes_on(slot: Slot, tmp_path: Path) -> None:
    async with listening(tmp_path / "miner") as miner, holding(slot, miner):
        link = await miner.link()
        for text in (
            "no json",
            "[]",
            '{"message_type": "Nothing"}',
            '{"message_type": "V0InitialJobRequest"}',
        ):
            await link.send(text)
            await link.expect(GenericError)
        await begin(link, slot, "echo unharmed")
        assert (await finished(link)).docker_process_stdout == "unharmed\n"


async def test_a_token_never_goes_to_a_server_with_another_certificate(slot: Slot, tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await writer.start_tls(server_context(ensure_certificate(tmp_path / "other", "127.0.0.1")))
            heard.append(await reader.read())
        except (ssl.SSLError, ConnectionError):
            heard.append(b"")
        writer.close()

    async with (
        listening(tmp_path / "miner") as miner,
        await asyncio.start_server(impostor, "127.0.0.1") as door,
    ):
        miner.address = f"127.0.0.1:{door.sockets[0].getsockname()[1]}"
        async with holding(slot, miner):
            await until(lambda: len(heard) >= 2)
    assert set(heard) == {b""}


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
