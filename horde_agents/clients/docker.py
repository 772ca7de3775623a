"""The container engine of a gpu node, through the Docker SDK; blocking calls run in threads.

Errors, by remedy::

    EngineFault
    ├── EngineAway        no daemon answers: the node's operator must start it
    ├── ImageMissing      no such image, or its registry says no: the user must name another
    ├── ImageRefused      no registry could serve a name like this: the user must name another
    ├── PlanRefused       image, user, command or directories do not fit together: the user's to correct
    └── EngineRefused     the daemon answered with an error; the text is the daemon's
"""

import asyncio
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from docker.api.client import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types.containers import DeviceRequest, LogConfig, Ulimit
from docker.utils.socket import STDOUT, frames_iter
from docker.utils.utils import kwargs_from_env
from requests.exceptions import RequestException  # noqa: TID251  (what the SDK lets through)

T = TypeVar("T")
Output = Iterator[tuple[bytes | None, bytes | None]]

_CALL_S: Final = 120
_NANO: Final = 1_000_000_000
_TMP: Final = "/tmp"  # noqa: S108  (inside the container)
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,499}")
#: What the daemon answers, as 500 or 400, when what it was asked to run is at fault and not the machine.
_PLAN_FAULTS: Final = (
    "unable to find user",
    "no matching entries",
    "is not a directory",
    "invalid mount",
    "invalid volume specification",
    "Duplicate mount point",
    "executable file not found",
    "permission denied: unknown",
    "no such file or directory: unknown",
    "error mounting",
    "argument list too long",
)


class EngineFault(Exception):
    """The container engine did not do its part."""


class EngineAway(EngineFault):
    """No daemon answers."""


class ImageMissing(EngineFault):
    """The image cannot be had."""


class ImageRefused(EngineFault):
    """The name is no image's name."""


class PlanRefused(EngineFault):
    """What was to be run does not fit together."""


class EngineRefused(EngineFault):
    """The daemon answered with an error; ``status`` is its HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


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
    """What to run; ``binds`` maps a directory of the host to one of the container."""

    name: str
    image: Image
    args: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    binds: Mapping[str, str]
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

    async def start(self, container: str, take: Callable[[bytes | None, bytes | None], None]) -> None:
        """Start it and hand its output to ``take`` until it ends; call once."""

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
        self._api: APIClient | None = None
        self._call_s = call_s

    def close(self) -> None:
        """Close the connections to the daemon."""
        if self._api is not None:
            self._api.close()

    async def image(self, name: str) -> Image:
        return await _in_thread(lambda: self._image(name))

    async def create(self, plan: ContainerPlan) -> str:
        _check_text(plan)
        with _plan_faults():
            return await _in_thread(lambda: self._create(plan))

    async def start(self, container: str, take: Callable[[bytes | None, bytes | None], None]) -> None:
        with _plan_faults():
            output = await _in_thread(lambda: self._attach_and_start(container))
        await _in_thread(lambda: _drain(output, take))

    async def ended(self, container: str) -> Ended:
        return await _in_thread(lambda: self._ended(container))

    async def kill(self, container: str) -> None:
        await _in_thread(lambda: self._ignoring_gone(lambda api: api.kill(container)))

    async def written_bytes(self, container: str) -> int | None:
        return await _in_thread(lambda: self._written_bytes(container))

    async def processes(self, container: str) -> list[int]:
        return await _in_thread(lambda: self._processes(container))

    async def remove(self, container: str) -> None:
        await _in_thread(
            lambda: self._ignoring_gone(lambda api: api.remove_container(container, v=True, force=True))
        )

    async def labelled(self, labels: Mapping[str, str]) -> list[str]:
        wanted = [f"{label}={value}" for label, value in labels.items()]

        def find() -> list[str]:
            found = self._connected().containers(all=True, quiet=True, filters={"label": wanted})
            return [str(container["Id"]) for container in found]

        return await _in_thread(find)

    def _connected(self) -> APIClient:
        if self._api is None:
            self._api = APIClient(version="1.41", timeout=self._call_s, **kwargs_from_env())
        return self._api

    def _image(self, name: str) -> Image:
        if not _NAME.fullmatch(name) or ".." in name:
            raise ImageRefused(f"{name!r:.120} is no name of an image")
        api = self._connected()
        reference = _by_digest(api, name)
        try:
            found = api.inspect_image(reference)
        except ImageNotFound:
            _pull(api, reference)
            found = api.inspect_image(reference)
        except APIError as error:
            raise _name_fault(name, error) from error
        config = found.get("Config") or {}
        return Image(reference, tuple(sorted(config.get("Volumes") or ())))

    def _create(self, plan: ContainerPlan) -> str:
        api = self._connected()
        created = api.create_container(
            plan.image.reference,
            command=list(plan.args) or None,
            environment=dict(plan.env),
            name=plan.name,
            labels=dict(plan.labels),
            healthcheck={"Test": ["NONE"]},
            host_config=_host_config(api, plan),
        )
        return str(created["Id"])

    def _attach_and_start(self, container: str) -> Output:
        api = self._connected()
        # as the SDK attaches, without its question whether there is a terminal, and closed at the end
        reply = api._post(
            api._url("/containers/{0}/attach", container),
            headers={"Connection": "Upgrade", "Upgrade": "tcp"},
            params={"stdout": 1, "stderr": 1, "stream": 1},
            stream=True,
        )
        try:
            api._raise_for_status(reply)
            api.start(container)
        except BaseException:
            reply.close()
            raise
        return _frames(api, reply)

    def _ended(self, container: str) -> Ended:
        api = self._connected()
        status = int(api.wait(container, timeout=None)["StatusCode"])
        if status == 0:
            return Ended(0, out_of_memory=False)
        state = api.inspect_container(container)["State"]
        return Ended(status, out_of_memory=bool(state.get("OOMKilled")))

    def _written_bytes(self, container: str) -> int | None:
        api = self._connected()
        url = api._url("/containers/{0}/json", container)
        size = int(api._result(api._get(url, params={"size": 1}), json=True).get("SizeRw") or 0)
        return size if size >= 0 else None  # the daemon says -1 where it cannot follow the paths

    def _processes(self, container: str) -> list[int]:
        try:
            table = self._connected().top(container)
        except APIError:
            return []  # it has just ended
        column = table["Titles"].index("PID")
        rows = table["Processes"] or ()  # null where the last has ended while Docker looked
        return [int(row[column]) for row in rows]

    def _ignoring_gone(self, call: Callable[[APIClient], object]) -> None:
        try:
            call(self._connected())
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:  # 409: another removal is under way
                raise


def _check_text(plan: ContainerPlan) -> None:
    """A NUL ends an argument early, and in a variable it breaks the runtime as if the machine had failed."""
    if any("\0" in text for text in (*plan.args, *plan.env, *plan.env.values())):
        raise PlanRefused("an argument or environment variable holds a NUL character")


def _by_digest(api: APIClient, name: str) -> str:
    """``name`` by the digest its registry gives now; an image only this machine has is named by its id."""
    if "@sha256:" in name:
        return name
    try:
        digest = api.inspect_distribution(name)["Descriptor"]["digest"]
    except APIError as error:
        try:
            return str(api.inspect_image(name)["Id"])
        except APIError:
            raise _name_fault(name, error) from error
    repository, _, tag = name.rpartition(":")
    return f"{repository if repository and '/' not in tag else name}@{digest}"


def _pull(api: APIClient, reference: str) -> None:
    try:
        api.pull(reference)
    except APIError as error:
        if "no space left" in str(error.explanation):
            raise
        raise ImageMissing(f"{reference}: {error.explanation or error}") from error


def _name_fault(name: str, error: APIError) -> EngineFault:
    kind = ImageRefused if error.status_code == 400 else ImageMissing
    return kind(f"{name:.200}: {error.explanation or error}")


def _host_config(api: APIClient, plan: ContainerPlan) -> Any:  # noqa: ANN401  (the SDK's own dict)
    sandbox = plan.sandbox
    tmpfs_options = f"rw,nosuid,nodev,size={sandbox.tmp_bytes}"
    return api.create_host_config(
        binds={host: {"bind": inside, "mode": "rw"} for host, inside in plan.binds.items()},
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        pids_limit=sandbox.pids,
        mem_limit=sandbox.memory_bytes,
        memswap_limit=sandbox.memory_bytes,
        nano_cpus=int(sandbox.cpus * _NANO),
        ulimits=[Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=4096, hard=4096)],
        ipc_mode="private",
        init=True,
        log_config=LogConfig(type="none"),
        tmpfs=dict.fromkeys(_scratch_paths(plan), tmpfs_options),
        device_requests=_gpus(sandbox.gpu_uuids),
    )


def _scratch_paths(plan: ContainerPlan) -> list[str]:
    """Temporary files and the image's VOLUMEs; the latter would be unbounded directories of the host."""
    declared = (posixpath.normpath(path) for path in plan.image.declared_volumes)
    return [path for path in dict.fromkeys((_TMP, *declared)) if path not in plan.binds.values()]


def _gpus(uuids: tuple[str, ...]) -> list[DeviceRequest] | None:
    if not uuids:
        return None
    return [DeviceRequest(driver="nvidia", device_ids=list(uuids), capabilities=[["gpu"]])]


def _frames(api: APIClient, reply: Any) -> Output:  # noqa: ANN401  (an HTTP library's answer)
    stream = api._get_raw_response_socket(reply)
    try:
        for kind, chunk in frames_iter(stream, tty=False):
            yield (chunk, None) if kind == STDOUT else (None, chunk)
    finally:
        reply.close()


def _drain(output: Output, take: Callable[[bytes | None, bytes | None], None]) -> None:
    for stdout, stderr in output:
        take(stdout, stderr)


@contextmanager
def _translated() -> Iterator[None]:
    """Every error of the SDK and its HTTP library, as one of ours; the most specific first."""
    try:
        yield
    except EngineFault:
        raise
    except (ImageNotFound, NotFound) as error:
        raise ImageMissing(str(error.explanation or error)) from error
    except APIError as error:
        raise EngineRefused(str(error.explanation or error), error.status_code or 0) from error
    except (DockerException, RequestException, OSError) as error:
        raise EngineAway(f"The Docker daemon does not answer: {error}") from error


@contextmanager
def _plan_faults() -> Iterator[None]:
    """Tells what the user asked for wrongly from what the machine failed to do."""
    try:
        yield
    except EngineRefused as error:
        if error.status == 400 or any(text in str(error) for text in _PLAN_FAULTS):
            raise PlanRefused(str(error)) from error
        raise


async def _in_thread(call: Callable[[], T]) -> T:
    def translated() -> T:
        with _translated():
            return call()

    return await asyncio.to_thread(translated)
