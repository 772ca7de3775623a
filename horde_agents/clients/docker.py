"""The container engine of a gpu node, through aiodocker: a job's way is hot, so no thread is on it."""

import asyncio
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer
from aiodocker.stream import Stream
from aiohttp import ClientError, ClientTimeout
from yarl import URL

from horde_agents.clients.docker_address import connect
from horde_agents.clients.docker_blame import image_faults, plan_faults
from horde_agents.clients.docker_faults import (
    EngineAway,
    EngineRefused,
    ImageRefused,
    PlanRefused,
)
from horde_agents.clients.docker_registry import by_digest, name_fault, pull

Take = Callable[[bytes | None, bytes | None], None]

_STDOUT: Final = 1
_CALL_S: Final = 120
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
#: What aiodocker says instead of a status where nobody answers.
_UNREACHABLE: Final = 900
_NANO: Final = 1_000_000_000
_TMP: Final = "/tmp"  # noqa: S108  (inside the container)
#: What NVIDIA's runtime, where it is Docker's default, gives any container. Images name "all", and jobs may.
_GPUS_SEEN: Final = "NVIDIA_VISIBLE_DEVICES"
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,499}")


@dataclass(frozen=True, slots=True)
class Image:
    """An image on this machine: ``reference`` is by digest wherever a registry knows it."""

    reference: str
    declared_volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The bounds of a job's container."""

    memory_bytes: int
    cpus: float
    pids: int
    tmp_bytes: int
    gpu_uuids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """What to run, in a container that reaches nothing but itself.

    ``binds`` maps a directory of the host to one of the container, ``read_only`` what the job cannot change.
    Names in ``/etc/hosts`` are up to the plan, for a container without network gets none from Docker.
    """

    name: str
    image: Image
    args: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    binds: Mapping[str, str]
    read_only: Mapping[str, str]
    hostname: str
    labels: Mapping[str, str]
    sandbox: Sandbox


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended."""

    exit_status: int
    out_of_memory: bool


class Engine(Protocol):
    """What the executor needs of a container engine."""

    async def image(self, name: str) -> Image:
        """Have ``name`` here, by digest; pulls only what is not here yet."""

    async def create(self, plan: ContainerPlan) -> str:
        """Create a container and return its id."""

    async def start(self, container: str) -> Stream:
        """Start it, and give what ``drain`` reads; call once."""

    async def drain(self, output: Stream, take: Take) -> None:
        """Hand what it prints to ``take`` until it ends: standard output first, standard error second."""

    async def ended(self, container: str) -> Ended:
        """Wait until it has ended."""

    async def kill(self, container: str) -> None:
        """SIGKILL; a container that has ended or is gone is fine."""

    async def written_bytes(self, container: str) -> int | None:
        """Bytes it has written outside its binds; ``None`` when the engine cannot tell."""

    async def processes(self, container: str) -> list[int]:
        """Its process ids as the host sees them."""

    async def remove(self, container: str) -> None:
        """Kill and remove it with what it made; a container that is gone is fine."""

    async def labelled(self, labels: Mapping[str, str]) -> list[str]:
        """Ids of all containers that carry all of these labels, running or not."""


class DockerEngine:
    """The Docker daemon that the environment names."""

    def __init__(self, call_s: float = _CALL_S) -> None:
        self._docker: Docker | None = None
        self._call_s = call_s
        self._timeout = ClientTimeout(total=call_s)

    async def close(self) -> None:
        """Close the connections to the daemon."""
        if self._docker is not None:
            await self._docker.close()

    async def image(self, name: str) -> Image:
        if not _NAME.fullmatch(name) or ".." in name:
            raise ImageRefused(f"{name!r:.120} is no name of an image")
        reference = name if "@sha256:" in name else await by_digest(name, self._call_s)
        found = await self._inspected(reference)
        if found is None:
            await pull(reference, self._call_s)
            with image_faults(), _translated():
                found = await self._connected().images.inspect(reference)
        config = found.get("Config") or {}
        return Image(reference, tuple(sorted(config.get("Volumes") or ())))

    async def create(self, plan: ContainerPlan) -> str:
        _check_text(plan)
        with plan_faults(), image_faults(), _translated():
            return (await self._connected().containers.create(_config(plan), name=plan.name)).id

    async def start(self, container: str) -> Stream:
        output = Stream(self._connected(), lambda: _attachment(container))
        with plan_faults(), _translated():
            async with asyncio.timeout(self._call_s):  # the stream has no limit of its own
                await output.__aenter__()  # attached before it runs, so that nothing it prints is lost
            try:
                await self._container(container).start()
            except BaseException:
                await output.close()
                raise
        return output

    async def drain(self, output: Stream, take: Take) -> None:
        with _translated():
            async with output:
                while (message := await output.read_out()) is not None:
                    take(*((message.data, None) if message.stream == _STDOUT else (None, message.data)))

    async def ended(self, container: str) -> Ended:
        with _translated():
            one = self._container(container)
            status = int((await one.wait())["StatusCode"])
            if status == 0:
                return Ended(0, out_of_memory=False)
            return Ended(status, out_of_memory=bool((await one.show())["State"].get("OOMKilled")))

    async def kill(self, container: str) -> None:
        with _translated(), _gone_is_fine():
            await self._container(container).kill(timeout=self._timeout)

    async def written_bytes(self, container: str) -> int | None:
        with _translated():
            size = int((await self._container(container).show(size=1)).get("SizeRw") or 0)
        return size if size >= 0 else None  # the daemon says -1 where it cannot follow the paths

    async def processes(self, container: str) -> list[int]:
        with _translated():
            try:
                table = await self._connected()._query_json(f"containers/{container}/top")
            except DockerError as error:
                if error.status == _UNREACHABLE:
                    raise
                return []  # it has just ended
        column = table["Titles"].index("PID")
        rows = table["Processes"] or ()  # null where the last has ended while Docker looked
        return [int(row[column]) for row in rows]

    async def remove(self, container: str) -> None:
        with _translated(), _gone_is_fine():
            await self._container(container).delete(v=True, force=True, timeout=self._timeout)

    async def labelled(self, labels: Mapping[str, str]) -> list[str]:
        wanted = [f"{label}={value}" for label, value in labels.items()]
        with _translated():
            found = await self._connected().containers.list(all=1, filters=json.dumps({"label": wanted}))
        return [one.id for one in found]

    def _connected(self) -> Docker:
        if self._docker is None:
            self._docker = connect(self._timeout)
        return self._docker

    def _container(self, container: str) -> DockerContainer:
        return self._connected().containers.container(container)

    async def _inspected(self, reference: str) -> dict[str, Any] | None:
        """None where it is not on this machine."""
        try:
            with _translated():
                return await self._connected().images.inspect(reference)
        except EngineRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise name_fault(reference, error.status, str(error)) from error


def _check_text(plan: ContainerPlan) -> None:
    """A NUL ends an argument early, and in a variable it breaks the runtime as if the machine had failed."""
    if any("\0" in text for text in (*plan.args, *plan.env, *plan.env.values())):
        raise PlanRefused("an argument or environment variable holds a NUL character")
    wrong = next((name for name in plan.env if "=" in name), None)
    if wrong is not None:  # Docker would take it for another variable of that beginning, which may be ours
        raise PlanRefused(f"the environment variable {wrong!r:.120} has an equals sign in its name")


async def _attachment(container: str) -> tuple[URL, None, bool]:
    """As aiodocker attaches, without its question whether there is a terminal."""
    wanted = {"stdout": 1, "stderr": 1, "stream": 1}
    return URL(f"containers/{container}/attach").with_query(wanted), None, False


def _config(plan: ContainerPlan) -> dict[str, Any]:
    """The request that Docker's API takes for a new container."""
    sandbox = plan.sandbox
    tmpfs_options = f"rw,nosuid,nodev,size={sandbox.tmp_bytes}"
    environment = {**plan.env, _GPUS_SEEN: ",".join(sandbox.gpu_uuids) or "void"}
    return {
        "Image": plan.image.reference,
        "Cmd": list(plan.args) or None,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": dict(plan.labels),
        "Healthcheck": {"Test": ["NONE"]},
        "Hostname": plan.hostname,
        "NetworkDisabled": True,  # "none" alone has dockerd begin anew for each, to set up nothing
        "HostConfig": {
            "Binds": [
                *(f"{host}:{inside}:rw" for host, inside in plan.binds.items()),
                *(f"{host}:{inside}:ro" for host, inside in plan.read_only.items()),
            ],
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": sandbox.pids,
            "Memory": sandbox.memory_bytes,
            "MemorySwap": sandbox.memory_bytes,
            "NanoCpus": int(sandbox.cpus * _NANO),
            "Ulimits": [_ulimit("core", 0), _ulimit("nofile", 4096)],
            "IpcMode": "private",
            "Init": True,
            "LogConfig": {"Type": "none"},
            "Tmpfs": dict.fromkeys(_scratch_paths(plan), tmpfs_options),
            "DeviceRequests": _gpus(sandbox.gpu_uuids),
        },
    }


def _ulimit(name: str, most: int) -> dict[str, Any]:
    return {"Name": name, "Soft": most, "Hard": most}


def _scratch_paths(plan: ContainerPlan) -> list[str]:
    """Temporary files and the image's VOLUMEs; the latter would be unbounded directories of the host."""
    declared = (posixpath.normpath(path) for path in plan.image.declared_volumes)
    return [path for path in dict.fromkeys((_TMP, *declared)) if path not in plan.binds.values()]


def _gpus(uuids: tuple[str, ...]) -> list[dict[str, Any]]:
    if not uuids:
        return []
    return [{"Driver": "nvidia", "DeviceIDs": list(uuids), "Capabilities": [["gpu"]]}]


@contextmanager
def _translated() -> Iterator[None]:
    """Every error of aiodocker and what it stands on, as one of ours."""
    try:
        yield
    except DockerError as error:
        if error.status == _UNREACHABLE:
            raise EngineAway(f"The Docker daemon does not answer: {error.message}") from error
        raise EngineRefused(error.message or f"HTTP status {error.status}", error.status) from error
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        raise EngineAway(f"The Docker daemon does not answer: {str(error) or repr(error)}") from error
    except (TypeError, AttributeError, LookupError, AssertionError) as error:
        raise EngineAway(f"What the Docker daemon answers makes no sense: {error!r}") from error


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    """A container that is not there, has ended, or is being removed already."""
    try:
        yield
    except DockerError as error:
        if error.status not in (_NOT_FOUND, _CONFLICT):
            raise
