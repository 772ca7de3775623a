"""What each thing that a person types needs from the machine, in the order in which it is set up."""

from collections.abc import Callable

from tools.setup.chain import ensure_chain_metadata
from tools.setup.docker_daemon import ensure_docker
from tools.setup.images import ensure_images
from tools.setup.packages import install_missing
from tools.setup.registry import ensure_registry
from tools.setup.stock import ensure_stock
from tools.setup.venv import ensure_venv

Step = Callable[[], None]

_PYTHON = ("python3-venv",)
_DOCKER = ("ca-certificates", "docker.io", "docker-registry", "busybox-static", "iproute2")
_DATABASE = ("postgresql",)


def _packages(*names: str) -> Step:
    return lambda: install_missing(names)


_RUNNING_JOBS: tuple[Step, ...] = (
    ensure_venv,
    ensure_docker,
    ensure_registry,
    ensure_images,
    ensure_chain_metadata,
)

GOALS: dict[str, tuple[Step, ...]] = {
    "check": (_packages(*_PYTHON), ensure_venv),
    "services": (_packages(*_DOCKER), ensure_docker, ensure_registry, ensure_images),
    "stock": (_packages(*_PYTHON), ensure_venv, ensure_stock),
    "demo": (_packages(*_PYTHON, *_DOCKER), *_RUNNING_JOBS),
    "bench": (_packages(*_PYTHON, *_DOCKER), *_RUNNING_JOBS),
    "test": (_packages(*_PYTHON, *_DOCKER, *_DATABASE), *_RUNNING_JOBS, ensure_stock),
}
