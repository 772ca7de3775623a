"""What each thing that a person types needs from the machine, in the order in which it is set up."""

from collections.abc import Callable

from tools.setup.agent_image import ensure_agent_image
from tools.setup.chain import ensure_chain_metadata
from tools.setup.docker_daemon import ensure_docker
from tools.setup.job_image import ensure_job_image
from tools.setup.node_image import ensure_node_image
from tools.setup.packages import install_missing
from tools.setup.prompt_image import ensure_prompt_images
from tools.setup.provision import ensure_provision
from tools.setup.registry import ensure_registry
from tools.setup.servers import ensure_servers
from tools.setup.stock import ensure_stock
from tools.setup.venv import ensure_venv

Step = Callable[[], None]

_PYTHON = ("python3-venv",)
_DOCKER = ("ca-certificates", "docker.io", "docker-registry", "busybox-static", "iproute2")
_DATABASE = ("postgresql",)
_BUILDING = ("gcc", "libc6-dev")
_IMAGES = ("mmdebstrap",)
_SIGNING = ("gpg", "gpg-agent")
_SSH = ("openssh-client",)


#: goal → the Debian packages that it needs
PACKAGES_OF: dict[str, tuple[str, ...]] = {
    "check": (*_PYTHON, *_BUILDING),
    "services": _DOCKER,
    "stock": _PYTHON,
    "tools": _BUILDING,
    "image": (*_PYTHON, *_DOCKER, *_IMAGES),
    "solver": (*_PYTHON, *_DOCKER),
    "demo": (*_PYTHON, *_DOCKER),
    "bench": (*_PYTHON, *_DOCKER, *_BUILDING),
    "cluster": (*_PYTHON, *_DOCKER, *_BUILDING),
    "test": (*_PYTHON, *_DOCKER, *_DATABASE, *_BUILDING, *_IMAGES),
    "provision": (*_PYTHON, *_DOCKER, *_BUILDING, *_IMAGES, *_SIGNING, *_SSH),
}

_SERVICES: tuple[Step, ...] = (ensure_docker, ensure_registry, ensure_job_image)
_RUNNING_JOBS: tuple[Step, ...] = (ensure_venv, *_SERVICES, ensure_chain_metadata)

#: goal → what follows its packages
STEPS_OF: dict[str, tuple[Step, ...]] = {
    "check": (ensure_venv, ensure_servers),
    "services": _SERVICES,
    "stock": (ensure_venv, ensure_stock),
    "tools": (ensure_servers,),
    "image": (ensure_venv, ensure_docker, ensure_registry, ensure_agent_image),
    "solver": (ensure_venv, *_SERVICES, ensure_prompt_images),
    "demo": _RUNNING_JOBS,
    "cluster": (*_RUNNING_JOBS, ensure_servers),
    "bench": (*_RUNNING_JOBS, ensure_servers),
    "test": (*_RUNNING_JOBS, ensure_stock, ensure_servers, ensure_agent_image, ensure_prompt_images),
    "provision": (
        *(ensure_venv, ensure_provision, *_SERVICES, ensure_node_image, ensure_servers),
        *(ensure_agent_image, ensure_stock),
    ),
}


def reach(goal: str) -> None:
    """Bring this machine to where ``goal`` can run; quick when it is there already."""
    install_missing(PACKAGES_OF[goal])
    for ensure in STEPS_OF[goal]:
        ensure()
