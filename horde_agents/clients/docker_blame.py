"""Whose fault it is that Docker did not do something, by what was asked for and what the daemon said."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from horde_agents.clients.docker_faults import EngineRefused, ImageMissing, PlanRefused

_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
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
#: What it answers, as 400 and with such words further on, when what gives a container its GPUs has failed.
#: Jobs have no hooks of their own; from the start, for a job's words may be quoted later.
_NODE_FAULT: Final = re.compile(
    r"(failed to create (shim )?task: )?OCI runtime create failed: (runc create failed: )?"
    r"unable to start container process: error during container init: error running (\w+ )?hook"
)


@contextmanager
def image_faults() -> Iterator[None]:
    """Where an image is asked for it is what is not found; elsewhere a container, the node's affair."""
    try:
        yield
    except EngineRefused as error:
        if error.status != _NOT_FOUND:
            raise
        raise ImageMissing(str(error)) from error


@contextmanager
def plan_faults() -> Iterator[None]:
    """Tells what the user asked for wrongly from what the machine failed to do."""
    try:
        yield
    except EngineRefused as error:
        said = str(error)
        if _NODE_FAULT.match(said) or (
            error.status != _BAD_REQUEST and not any(text in said for text in _PLAN_FAULTS)
        ):
            raise
        raise PlanRefused(said) from error
