"""What a gpu node asks a registry, through Docker's own SDK, which has the credentials of ``docker login``.

Its calls block, so they run in a thread.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final, TypeVar

from docker.api.client import APIClient
from docker.errors import APIError, DockerException
from docker.utils.utils import kwargs_from_env
from requests.exceptions import RequestException  # noqa: TID251  (what the SDK lets through)

from horde_agents.clients.docker_faults import (
    EngineAway,
    EngineFault,
    EngineRefused,
    ImageMissing,
    ImageRefused,
)

T = TypeVar("T")

#: Of Docker 20.10, which Debian 12 has.
API_VERSION: Final = "1.41"
_BAD_REQUEST: Final = 400
_NO_SPACE: Final = "no space left"


async def by_digest(name: str, call_s: float) -> str:
    """``name`` by the digest its registry gives now; an image only this machine has is named by its id.

    Raises:
        EngineFault: the name, the registry or the daemon is at fault; see its kinds.
    """
    return await _asked(lambda api: _by_digest(api, name), call_s)


async def pull(reference: str, call_s: float) -> None:
    """Get the image from its registry.

    Raises:
        EngineFault: as in ``by_digest``.
    """
    await _asked(lambda api: _pull(api, reference), call_s)


def _by_digest(api: APIClient, name: str) -> str:
    """``name`` by the digest its registry gives now; an image only this machine has is named by its id."""
    try:
        digest = api.inspect_distribution(name)["Descriptor"]["digest"]
    except APIError as error:
        try:
            return str(api.inspect_image(name)["Id"])
        except APIError:
            raise name_fault(name, error.status_code, str(error.explanation or error)) from error
    repository, _, tag = name.rpartition(":")
    return f"{repository if repository and '/' not in tag else name}@{digest}"


def _pull(api: APIClient, reference: str) -> None:
    try:
        steps = api.pull(reference, stream=True, decode=True)
        failures = [step["error"] for step in steps if "error" in step]  # to the end: frees the socket
    except APIError as error:
        if _NO_SPACE in str(error.explanation):
            raise
        raise ImageMissing(f"{reference}: {error.explanation or error}") from error
    for failure in failures:  # what breaks once the daemon has begun comes with status 200
        raise EngineRefused(failure, 0) if _NO_SPACE in failure else ImageMissing(f"{reference}: {failure}")


def name_fault(name: str, status: int | None, text: str) -> EngineFault:
    """Whose fault it is when an image is not to be had, from the HTTP status of the answer."""
    kind = ImageRefused if status == _BAD_REQUEST else ImageMissing
    return kind(f"{name:.200}: {text}")


async def _asked(question: Callable[[APIClient], T], call_s: float) -> T:
    def asked() -> T:
        with _translated(), closing(_api(call_s)) as api:
            return question(api)

    return await asyncio.to_thread(asked)


def _api(call_s: float) -> APIClient:
    return APIClient(version=API_VERSION, timeout=call_s, **kwargs_from_env())


@contextmanager
def _translated() -> Iterator[None]:
    """Every error of the SDK and its HTTP library, as one of ours."""
    try:
        yield
    except APIError as error:
        raise EngineRefused(str(error.explanation or error), error.status_code or 0) from error
    except (DockerException, RequestException, OSError) as error:
        raise EngineAway(f"The Docker daemon does not answer: {error}") from error
