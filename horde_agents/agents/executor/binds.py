"""Which directories and files of the host a job sees, and where in its container."""

from pathlib import Path, PurePosixPath
from typing import Final

from horde_agents.agents.executor.outcome import job_fault
from horde_agents.agents.executor.workspace import Workspace
from horde_agents.jobs.faults import JobFaultReason, Stage
from horde_agents.jobs.spec import OUTPUT_DIR, VOLUME_DIR, JobSpec

#: The kernel's own trees: a directory bound over them breaks the container.
_KERNEL: Final = ("/proc", "/sys", "/dev")
_MAX_CHARACTERS: Final = 1024


def binds_of(spec: JobSpec, workspace: Workspace) -> dict[str, str]:
    """Directory of the host → directory of the container.

    Raises:
        StageFailed: the job names an artifacts directory that cannot be one.
    """
    binds = {str(workspace.volume): VOLUME_DIR, str(workspace.output): OUTPUT_DIR}
    if spec.artifacts_dir:
        binds.setdefault(str(artifacts_folder(spec, workspace)), _inside(spec.artifacts_dir))
    return binds


def names_of(workspace: Workspace) -> dict[str, str]:
    """File of the host → file of the container, by which a job finds itself.

    Docker has files of its own there otherwise, and a job could fill the host's disk through them.
    """
    return {str(workspace.hosts): "/etc/hosts", str(workspace.hostname): "/etc/hostname"}


def artifacts_folder(spec: JobSpec, workspace: Workspace) -> Path:
    """Where the host sees the job's artifacts; a job may well name /output itself."""
    match _inside(spec.artifacts_dir or ""):
        case "/output":
            return workspace.output
        case "/volume":
            return workspace.volume
        case _:
            return workspace.artifacts


def _inside(text: str) -> str:
    path = PurePosixPath("/" + text.lstrip("/")) if text.startswith("/") else PurePosixPath(text)
    plain = path.is_absolute() and len(path.parts) > 1 and ".." not in path.parts
    clean = text.isprintable() and ":" not in text and len(text) <= _MAX_CHARACTERS
    if not plain or not clean or f"/{path.parts[1]}" in _KERNEL:
        message = (
            f"The artifacts directory {text:.120} cannot be one. Name an absolute directory "
            f"such as /artifacts, without '..' or ':', outside {', '.join(_KERNEL)}."
        )
        raise job_fault(JobFaultReason.UNKNOWN, Stage.EXECUTION, message)
    return str(path)
