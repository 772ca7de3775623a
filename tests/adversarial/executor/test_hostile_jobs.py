"""Jobs that never end or take more than is theirs: each ends with a cause, and nothing of it stays."""

import pytest

from horde_agents.jobs.budget import Limits
from horde_agents.jobs.faults import Cause, JobFaultReason, Stage
from tests.fixtures.executor import MIB, Slot, built, cause, docker

pytestmark = pytest.mark.docker


async def test_a_job_that_ignores_sigterm_ends_with_its_time(slot: Slot) -> None:
    spec = slot.sh("trap '' TERM INT; echo here; while true; do sleep 1; done", limits=Limits(0, 2, 0, 0, 0))
    end = await slot.failure(spec)
    assert (end.reason, end.stage, cause(end)) == (
        JobFaultReason.TIMEOUT,
        Stage.EXECUTION,
        Cause.STAGE_TIMEOUT,
    )
    assert end.stdout == "here\n"


async def test_a_job_that_closes_its_output_is_still_watched(slot: Slot) -> None:
    small = slot.with_settings(space_bytes=8 * MIB)
    script = "exec >&- 2>&-; sleep 1; dd if=/dev/zero of=/output/x bs=1M count=40; sleep 60"
    assert cause(await small.failure(small.sh(script))) == Cause.SPACE_EXCEEDED


@pytest.mark.parametrize("folder", ["/output", "/volume", "/artifacts", "/root"])
async def test_writing_more_than_the_space_ends_the_job(slot: Slot, folder: str) -> None:
    small = slot.with_settings(space_bytes=8 * MIB)
    spec = small.spec("sh", "-c", 'dd if=/dev/zero of="$0/x" bs=1M count=40; sleep 60', folder)
    end = await small.failure(small.spec(*spec.args, artifacts_dir="/artifacts", limits=Limits(20, 40, 20)))
    assert (end.stage, cause(end)) == (Stage.EXECUTION, Cause.SPACE_EXCEEDED)
    assert "8388608 are allowed" in end.message


async def test_a_quick_job_cannot_slip_past_the_watch(slot: Slot) -> None:
    small = slot.with_settings(space_bytes=8 * MIB)
    end = await small.failure(small.sh("dd if=/dev/zero of=/output/x bs=1M count=40"))
    assert cause(end) == Cause.SPACE_EXCEEDED


@pytest.mark.parametrize("folder", ["/output", "/root"])
async def test_a_file_without_a_name_is_space_too(slot: Slot, folder: str) -> None:
    small = slot.with_settings(space_bytes=8 * MIB)
    script = 'exec 3>"$0/x"; rm "$0/x"; dd if=/dev/zero bs=1M count=40 >&3; sleep 60'
    assert cause(await small.failure(small.spec("sh", "-c", script, folder))) == Cause.SPACE_EXCEEDED


async def test_no_file_that_docker_puts_into_a_container_leads_past_the_space(slot: Slot) -> None:
    small = slot.with_settings(space_bytes=8 * MIB)
    written = "for file in hosts hostname resolv.conf; do dd if=/dev/zero of=/etc/$file bs=1M count=40; done"
    end = await small.failure(small.sh(f"{written}; sleep 60"))
    assert cause(end) == Cause.SPACE_EXCEEDED
    assert (end.stderr or "").count("Read-only file system") == 2


async def test_a_multitude_of_empty_files_is_space_too(slot: Slot) -> None:
    small = slot.with_settings(space_bytes=8 * MIB)
    script = "i=0; while [ $i -lt 4000 ]; do : > /output/$i; i=$((i+1)); done; sleep 60"
    assert cause(await small.failure(small.sh(script))) == Cause.SPACE_EXCEEDED


@pytest.mark.parametrize("folder", ["/output", "/root"])
async def test_folders_too_deep_to_be_measured_end_the_job_and_are_removed(slot: Slot, folder: str) -> None:
    script = (
        'cd "$0"; i=0; while [ $i -lt 2500 ]; do mkdir dddddddddd; cd dddddddddd; i=$((i+1)); done;'
        "echo hidden > x; sleep 60"
    )
    end = await slot.failure(slot.spec("sh", "-c", script, folder))
    assert (cause(end), "nested" in end.message) == (Cause.SPACE_EXCEEDED, True)


async def test_output_without_end_ends_the_job(slot: Slot) -> None:
    small = slot.with_settings(output_bytes=MIB)
    end = await small.failure(small.sh("yes"))
    assert cause(end) == Cause.SPACE_EXCEEDED
    assert len(end.stdout or "") == 1_000_005


async def test_too_much_memory_is_named_as_the_cause(slot: Slot) -> None:
    small = slot.with_settings(memory_bytes=32 * MIB)
    # Docker hears of the end and of the memory by separate ways, and misses the latter once in a while
    ends = [await small.failure(small.sh("dd if=/dev/zero of=/dev/null bs=200M count=1")) for _ in range(3)]
    assert {end.reason for end in ends} == {JobFaultReason.NONZERO_RETURN_CODE}
    assert all("33554432 bytes of memory" in end.message for end in ends)
    assert Cause.MEMORY_EXCEEDED in {cause(end) for end in ends}


async def test_temporary_files_are_bounded_by_their_own_size(slot: Slot) -> None:
    small = slot.with_settings(tmp_bytes=MIB)
    end = await small.failure(small.sh("dd if=/dev/zero of=/tmp/x bs=1M count=4"))
    assert "No space left on device" in (end.stderr or "")


async def test_a_fork_bomb_meets_its_bound_and_ends_with_its_time(slot: Slot) -> None:
    small = slot.with_settings(pids=64)
    spec = small.sh("b() { b | b & }; b; sleep 60", limits=Limits(0, 3, 0, 0, 0))
    end = await small.failure(spec)
    assert end.reason in {JobFaultReason.TIMEOUT, JobFaultReason.NONZERO_RETURN_CODE}
    assert "fork" in (end.stderr or "")


async def test_a_command_that_does_not_exist_is_the_users_fault(slot: Slot) -> None:
    end = await slot.failure(slot.spec("no-such-command"))
    assert (end.reason, end.exit_status) == (JobFaultReason.NONZERO_RETURN_CODE, 127)


@pytest.mark.parametrize("env", [{"": "x"}, {"A\0": "x"}, {"A": "\0"}])
async def test_a_bad_environment_is_the_users_fault(slot: Slot, env: dict[str, str]) -> None:
    end = await slot.failure(slot.spec("true", env=env))
    assert "cannot be started as asked" in end.message


@pytest.mark.parametrize(
    "folder", ["/", "relative", "/proc", "/sys/x", "/dev/shm", "/a/../b", "/x:ro", "/a\0b"]
)
async def test_an_artifacts_directory_that_cannot_be_one_is_the_users_fault(slot: Slot, folder: str) -> None:
    end = await slot.failure(slot.spec("true", artifacts_dir=folder))
    assert "artifacts directory" in end.message


async def test_an_artifacts_directory_over_a_file_is_the_users_fault(slot: Slot) -> None:
    end = await slot.failure(slot.spec("true", artifacts_dir="/bin/sh"))
    assert "cannot be started as asked" in end.message


@pytest.mark.parametrize("name", ["../../elsewhere", "a b", "x" * 300])
async def test_a_job_uuid_that_is_none_leads_nowhere(slot: Slot, name: str) -> None:
    await slot.run(slot.spec("true", uuid=name))
    assert [path.name for path in slot.settings.work_dir.parent.iterdir()] == [slot.settings.work_dir.name]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("127.0.0.1:5001/nosuch:1", Cause.IMAGE_NOT_FOUND),
        ("127.0.0.1:5001/horde/job@sha256:" + "0" * 64, Cause.IMAGE_NOT_FOUND),
        ("127.0.0.1:1/unreachable:1", Cause.IMAGE_NOT_FOUND),
        ("127.0.0.1:1/unreachable@sha256:" + "0" * 64, Cause.IMAGE_NOT_FOUND),
        ("Bad Name", Cause.IMAGE_REFUSED),
        ("x@sha256:12", Cause.IMAGE_REFUSED),
        ("../../containers/json", Cause.IMAGE_REFUSED),
        ("", Cause.IMAGE_REFUSED),
    ],
)
async def test_an_image_that_cannot_be_had_is_the_users_fault(
    slot: Slot, image: str, expected: Cause
) -> None:
    end = await slot.failure(slot.spec("true", image=image))
    assert (end.reason, end.stage) == (JobFaultReason.DOWNLOAD_FAILED, Stage.EXECUTOR_STARTUP)
    assert cause(end) == expected


async def test_an_images_own_volumes_health_check_and_user_stay_in_bounds(slot: Slot) -> None:
    lines = (
        f"FROM {slot.image}",
        "VOLUME /output /data/ /tmp",
        "USER 1234:1234",
        "STOPSIGNAL SIGUSR1",
        "HEALTHCHECK --interval=1s CMD false",
        'ENTRYPOINT ["sh", "-c"]',
    )
    script = "id -u; df /data | awk 'END {print $1}'; echo x > /output/x && echo y > /volume/y && echo ok"
    with built(*lines) as image:
        before = docker("volume", "ls", "-q")
        end = await slot.success(slot.spec(script, image=image))
        assert docker("volume", "ls", "-q") == before
    assert end.stdout.split() == ["1234", "tmpfs", "ok"]


async def test_an_image_whose_user_does_not_exist_is_the_users_fault(slot: Slot) -> None:
    with built(f"FROM {slot.image}", "USER nobody-here") as image:
        end = await slot.failure(slot.spec("true", image=image))
    assert "nobody-here" in end.message
