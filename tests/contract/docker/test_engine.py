"""What the executor relies on in a container engine, at the real daemon."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from horde_agents.clients.docker import ContainerPlan, DockerEngine, Ended, Image, Sandbox
from horde_agents.clients.docker_faults import ImageMissing, ImageRefused, PlanRefused
from tests.fixtures.executor import docker

pytestmark = pytest.mark.docker
_SANDBOX = Sandbox(64 * 1024 * 1024, 1.0, 64, 1024 * 1024)


@pytest.fixture
def label() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def engine(label: str, docker_daemon: None) -> AsyncIterator[DockerEngine]:
    made = DockerEngine()
    yield made
    for container in await made.labelled({"horde.contract": label}):
        await made.remove(container)
    await made.close()


def plan(image: str, label: str, *args: str) -> ContainerPlan:
    """A container of the test's own."""
    labels = {"horde.contract": label}
    return ContainerPlan(
        f"contract-{uuid.uuid4()}", Image(image), args, {}, {}, {}, "contract", labels, _SANDBOX
    )


async def test_output_comes_apart_and_the_end_is_told(
    engine: DockerEngine, job_image: str, label: str
) -> None:
    got: list[tuple[bytes | None, bytes | None]] = []
    container = await engine.create(plan(job_image, label, "sh", "-c", "echo out; echo err >&2; exit 3"))
    await engine.drain(await engine.start(container), lambda out, err: got.append((out, err)))
    assert await engine.ended(container) == Ended(3, out_of_memory=False)
    assert sorted(got, key=str) == [(None, b"err\n"), (b"out\n", None)]


async def test_a_container_without_gpus_cannot_ask_for_them_by_its_environment(
    engine: DockerEngine, job_image: str, label: str
) -> None:
    got: list[tuple[bytes | None, bytes | None]] = []
    asks = plan(job_image, label, "sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES $OTHER")
    asks = replace(asks, env={"NVIDIA_VISIBLE_DEVICES": "all", "OTHER": "kept"})
    output = await engine.start(await engine.create(asks))
    await engine.drain(output, lambda out, err: got.append((out, err)))
    assert got == [(b"void kept\n", None)]


async def test_kill_ends_what_ignores_sigterm_and_may_come_late(
    engine: DockerEngine, job_image: str, label: str
) -> None:
    container = await engine.create(plan(job_image, label, "sh", "-c", "trap '' TERM; echo up; sleep 100"))
    up = asyncio.Event()

    def take(_out: bytes | None, _err: bytes | None) -> None:
        up.set()

    living = asyncio.create_task(engine.drain(await engine.start(container), take))
    await asyncio.wait_for(up.wait(), 20)
    assert await engine.processes(container)
    await engine.kill(container)
    await asyncio.wait_for(living, 20)
    assert (await engine.ended(container)).exit_status == 137
    await engine.kill(container)
    assert await engine.processes(container) == []
    await engine.remove(container)
    await engine.remove(container)
    await engine.kill(container)


async def test_labels_find_containers_in_any_state_and_no_others(
    engine: DockerEngine, job_image: str, label: str
) -> None:
    created = await engine.create(plan(job_image, label, "true"))
    await engine.create(plan(job_image, f"{label}-other", "true"))
    try:
        assert await engine.labelled({"horde.contract": label}) == [created]
    finally:
        for container in await engine.labelled({"horde.contract": f"{label}-other"}):
            await engine.remove(container)


async def test_what_a_container_writes_outside_its_binds_is_measured(
    engine: DockerEngine, job_image: str, label: str
) -> None:
    container = await engine.create(
        plan(
            job_image,
            label,
            "sh",
            "-c",
            "dd if=/dev/zero of=/root/x bs=1000000 count=5; dd if=/dev/zero of=/tmp/x",
        )
    )
    await engine.drain(await engine.start(container), lambda *_: None)
    assert 5_000_000 <= (await engine.written_bytes(container) or 0) < 6_000_000


async def test_an_image_here_by_digest_costs_no_question_to_its_registry(
    engine: DockerEngine, job_image: str
) -> None:
    digest = job_image.partition("@")[2]
    unreachable = f"127.0.0.1:1/gone/{uuid.uuid4().hex}"
    with pytest.raises(ImageMissing):
        await engine.image(f"{unreachable}@{digest}")
    assert (await engine.image(job_image)).reference == job_image


async def test_an_image_that_is_not_here_is_pulled_by_the_digest_of_its_tag(
    engine: DockerEngine, registry: str, job_image: str
) -> None:
    name = f"{registry}/contract/{uuid.uuid4().hex}:1"
    source = docker(
        "build", "-q", "-", given=f"FROM {job_image}\nLABEL made={time.time_ns()}\nVOLUME /data\n"
    )
    docker("tag", source, name)
    docker("push", "-q", name)
    docker("rmi", "-f", source)
    found = await engine.image(name)
    try:
        assert found.reference.startswith(f"{name.rpartition(':')[0]}@sha256:")
        assert found.declared_volumes == ("/data",)
    finally:
        docker("rmi", "-f", found.reference)


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a/../b", "--help", "a@sha256:1"])
async def test_a_name_that_is_none_is_refused(engine: DockerEngine, name: str) -> None:
    with pytest.raises(ImageRefused):
        await engine.image(name)


@pytest.mark.parametrize("name", ["", "NVIDIA_VISIBLE_DEVICES=all,"])
async def test_a_plan_that_does_not_fit_together_is_told_from_a_broken_engine(
    engine: DockerEngine, job_image: str, label: str, name: str
) -> None:
    wrong = replace(plan(job_image, label, "true"), env={"NVIDIA_VISIBLE_DEVICES": "", name: ""})
    with pytest.raises(PlanRefused):
        await engine.create(wrong)
