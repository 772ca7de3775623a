"""A job runs as asked: its command, input, output, artifacts and uploads."""

import base64
import io
import json
import zipfile

import pytest

from horde_agents.agents.executor.app import free_slot
from horde_agents.agents.executor.container import SLOT_LABEL, slot_labels
from horde_agents.jobs.budget import Limits
from horde_agents.jobs.events import ExecutionDone, ExecutorReady, VolumesReady
from horde_agents.jobs.faults import JobFaultReason, Stage
from horde_agents.jobs.spec import FilePost, FilePut, FileVolume, InlineVolume, ZipPut, ZipVolume
from tests.fixtures.executor import Slot, containers, docker, zipped
from tests.fixtures.web_server import answering, serving

pytestmark = pytest.mark.docker


async def test_output_and_milestones_come_in_order(slot: Slot) -> None:
    end = await slot.success(slot.sh("echo out; echo err >&2"))
    assert (end.stdout, end.stderr) == ("out\n", "err\n")
    assert [type(event) for event in slot.told] == [ExecutorReady, VolumesReady, ExecutionDone]


async def test_arguments_and_environment_arrive_unchanged(slot: Slot) -> None:
    odd = "a  b'\"$(x)\n; é"
    spec = slot.spec("sh", "-c", 'printf "%s|%s|%s" "$1" "$2" "$ODD"', "sh", odd, "", env={"ODD": odd})
    assert (await slot.success(spec)).stdout == f"{odd}||{odd}"


async def test_a_nonzero_exit_is_the_jobs_failure_with_its_output(slot: Slot) -> None:
    end = await slot.failure(slot.sh("echo last words; exit 7"))
    assert (end.reason, end.stage) == (JobFaultReason.NONZERO_RETURN_CODE, Stage.EXECUTION)
    assert (end.exit_status, end.stdout) == (7, "last words\n")


async def test_a_tag_is_resolved_to_the_digest(slot: Slot, tagged_image: str) -> None:
    found = await slot.engine.image(tagged_image)
    repository = tagged_image.rpartition(":")[0]
    assert found.reference == f"{repository}@{slot.image.partition('@')[2]}"
    assert (await slot.success(slot.spec("echo", "tagged", image=tagged_image))).stdout == "tagged\n"


async def test_volumes_are_placed_in_order_and_later_ones_win(slot: Slot) -> None:
    first = base64.b64encode(zipped({"a.txt": b"first", "deep/b.txt": b"b"})).decode()
    second = zipped({"a.txt": b"second"})
    async with serving(answering(second)) as server:
        volumes = (
            InlineVolume(first),
            ZipVolume(f"{server.url}/second.zip"),
            FileVolume(f"{server.url}/file", "models/file.bin"),
        )
        spec = slot.sh(
            "cat /volume/a.txt /volume/deep/b.txt; wc -c < /volume/models/file.bin; ls /volume",
            volumes=volumes,
        )
        end = await slot.success(spec)
    assert end.stdout.split() == ["secondb" + str(len(second)), "a.txt", "deep", "models"]


@pytest.mark.parametrize("folder", ["/artifacts", "/output", "/volume", "/a/b c"])
async def test_artifacts_are_the_small_files_on_top(slot: Slot, folder: str) -> None:
    script = (
        'cd "$0" && mkdir d && echo in > d/x && echo small > s && dd if=/dev/zero of=big bs=1000000 count=1'
    )
    end = await slot.success(slot.spec("sh", "-c", script, folder, artifacts_dir=folder))
    assert end.artifacts == {f"{folder}/s": base64.b64encode(b"small\n").decode()}


async def test_uploads_carry_files_fields_and_headers(slot: Slot) -> None:
    async with serving(answering(b"thanks")) as server:
        uploads = (
            FilePut(f"{server.url}/put", "d/a.bin", {"X-Signed": "yes"}),
            FilePost(f"{server.url}/post", "b.bin", {"key": "value"}),
        )
        system = ZipPut(f"{server.url}/zip")
        script = (
            "mkdir /output/d; echo aaa > /output/d/a.bin; echo bbb > /output/b.bin; echo said; echo bad >&2"
        )
        end = await slot.success(slot.sh(script, uploads=uploads, system_output=system))
        got = {each.path: each for each in server.asked}
    assert set(end.upload_results) == {"d/a.bin", "b.bin", "system_output"}
    assert json.loads(end.upload_results["b.bin"])["body"] == "thanks"
    assert (got["/put"].body, got["/put"].headers["X-Signed"]) == (b"aaa\n", "yes")
    assert got["/put"].headers["Content-Length"] == "4"
    form = got["/post"].body
    assert form.index(b'name="key"') < form.index(b'name="file"; filename="b.bin"') < form.index(b"bbb\n")
    archive = zipfile.ZipFile(io.BytesIO(got["/zip"].body))
    assert sorted(archive.namelist()) == ["b.bin", "d/a.bin", "stderr.txt", "stdout.txt"]
    assert (archive.read("stdout.txt"), archive.read("stderr.txt")) == (b"said\n", b"bad\n")


async def test_long_output_is_reported_by_both_ends_and_uploaded_whole(slot: Slot) -> None:
    async with serving(answering()) as server:
        script = "printf begin; dd if=/dev/zero bs=1000 count=3000 2>/dev/null | tr '\\0' x; printf end"
        end = await slot.success(slot.sh(script, uploads=(FilePut(f"{server.url}/log", "stdout.txt"),)))
        uploaded = server.asked[0].body
    assert end.stdout == "begin" + "x" * 499_995 + " ... " + "x" * 499_997 + "end"
    assert uploaded == b"begin" + b"x" * 3_000_000 + b"end"


async def test_the_sandbox_has_no_capabilities_network_or_new_privileges(slot: Slot) -> None:
    script = (
        "awk '/^(CapEff|CapBnd|NoNewPrivs)/ {print $2}' /proc/self/status; ls /sys/class/net;"
        "ulimit -c; ulimit -n; df -m /tmp | awk 'END {print $2}';"
        "ls -d /proc/[0-9]* | wc -l; ls /var/run 2>&1"
    )
    words = (await slot.success(slot.sh(f"{script}; true"))).stdout.split()
    none = "0" * 16
    assert words[:7] == [none, none, "1", "lo", "0", "4096", "256"]
    assert int(words[7]) < 10, "the container sees processes of others"
    assert "docker.sock" not in words


@pytest.mark.parametrize("name", ["localhost", "job", "127.0.0.1"])
async def test_a_job_reaches_itself_by_name_and_learns_nothing_of_its_hosts_network(
    slot: Slot, name: str
) -> None:
    script = (
        "cd /output; echo served > page; httpd -p 8080; hostname; cat /etc/hostname;"
        'wget -q -O - "http://$0:8080/page"; cat /etc/resolv.conf; tail -n +2 /proc/net/route'
    )
    assert (await slot.success(slot.spec("sh", "-c", script, name))).stdout == "job\njob\nserved\n"


async def test_a_gpu_preset_on_a_slot_without_gpus_runs_without(slot: Slot) -> None:
    assert (await slot.success(slot.spec("echo", "ran", gpu=True))).stdout == "ran\n"


async def test_what_other_people_run_here_is_left_alone(slot: Slot) -> None:
    label = f"test.bystander={slot.settings.slot_id}"
    docker("run", "-d", "--rm", "--label", label, slot.image, "sleep", "100")
    try:
        await slot.failure(slot.sh("exit 1"))
        await slot.success(slot.sh("true"))
        assert len(containers(label)) == 1
    finally:
        docker("rm", "-f", *containers(label))


@pytest.mark.parametrize("gpus", [[], ["GPU-1"]])
async def test_a_slot_ends_what_it_left_but_nothing_of_another_miners_slot_of_that_name(
    slot: Slot, gpus: list[str]
) -> None:
    mine = slot.settings.model_copy(update={"gpu_uuids": gpus})
    other = slot.settings.model_copy(update={"work_dir": slot.settings.work_dir / "other"})
    for settings in (mine, other):
        labels = slot_labels(settings).items()
        docker(
            "run", "-d", *(f"--label={name}={value}" for name, value in labels), slot.image, "sleep", "100"
        )
    await free_slot(slot.engine, mine)
    left = containers(f"{SLOT_LABEL}={mine.slot_id}")
    await free_slot(slot.engine, other)
    # a GPU belongs to one slot of the machine: whoever holds it now ends what is left of any other
    assert len(left) == (0 if gpus else 1)


async def test_time_left_over_from_downloads_serves_execution(slot: Slot) -> None:
    assert (await slot.success(slot.sh("sleep 2", limits=Limits(20, 1, 20, leeway_s=0)))).stdout == ""
