"""This machine: Python, disk, Docker, clock."""

import ctypes
import shutil
import struct
import sys
from pathlib import Path
from typing import Final

from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.clients.docker import DockerEngine, EngineFault

_FREE_BYTES: Final = 10 * 1024**3
_OLDEST_PYTHON: Final = (3, 11)
_IMAGES: Final = Path("/var/lib/docker")
#: Of ``struct timex`` on 64-bit Linux: modes, offset, freq, *maxerror*, esterror, *status*; then much more.
_TIMEX: Final = struct.Struct("@4x4x8x8xq8xi")
_TIMEX_BYTES: Final = 512
#: Linux, timex.h: the clock is not kept in step with any other.
_STA_UNSYNC: Final = 0x40


async def machine_findings(*, runs_containers: bool) -> list[Finding]:
    """All of it; Docker only where it is needed."""
    docker = [await _docker()] if runs_containers else []
    return [_python(), _disk(), *docker, clock_finding(kernel_clock())]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        return wrong("Python", f"{version}; install 3.11 or newer")
    return fine("Python", version)


def _disk() -> Finding:
    free = shutil.disk_usage(_IMAGES if _IMAGES.exists() else "/").free
    text = f"{free / 1024**3:.0f} GiB free for images and jobs"
    return wrong("disk", f"{text}; free up to 10 GiB") if free < _FREE_BYTES else fine("disk", text)


async def _docker() -> Finding:
    try:
        await DockerEngine().labelled({"horde.doctor": "none"})
    except EngineFault as error:
        return wrong("Docker", f"{error!s:.160} Start it: systemctl start docker")
    return fine("Docker", "the daemon answers")


def kernel_clock() -> tuple[int, int]:
    """What the kernel says of its clock: the status bits, and the largest error in microseconds."""
    told = ctypes.create_string_buffer(_TIMEX_BYTES)
    ctypes.CDLL(None).adjtimex(told)
    error_us, status = _TIMEX.unpack_from(told)
    return status, error_us


def clock_finding(told: tuple[int, int]) -> Finding:
    """Signatures are fresh for minutes: a clock that drifts shuts its agent out."""
    status, error_us = told
    if status & _STA_UNSYNC:
        remedy = "run: systemctl enable --now systemd-timesyncd"
        return wrong("clock", f"nothing keeps it in step with the world's; {remedy}")
    return fine("clock", f"in step to {error_us / 1_000_000:.3f} s")
