"""This machine: Python, disks, Docker, clock, GPUs, services, certificates, versions.

Needs Python alone, so that ``on_machine`` can look at machines that have no agent.
"""

import ctypes
import http.client
import os
import shutil
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from horde_agents.cli.checks.certificates import machine_certificate_findings
from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.cli.checks.gpus import gpu_findings
from horde_agents.cli.checks.units import unit_findings
from horde_agents.cli.checks.versions import local_findings

_GIB: Final = 1024**3
_OLDEST_PYTHON: Final = (3, 11)
_IMAGES: Final = Path("/var/lib/docker")
#: Folder → GiB that have to be free there.
_ROOM: Final = {
    _IMAGES: 10,
    Path("/var/lib/nomad"): 2,
    Path("/var/lib/consul"): 1,
    Path("/var/lib/postgresql"): 2,
    Path("/var/lib/docker-registry"): 2,
    Path("/var/lib/horde-objects"): 2,
    Path("/var/log"): 1,
}
_LEAST_FILES: Final = 0.05
_DOCKER_SOCKET: Final = "unix:///var/run/docker.sock"
_ANSWER_S: Final = 10.0
#: Of ``struct timex`` on 64-bit Linux: modes, offset, freq, *maxerror*, esterror, *status*; then much more.
_TIMEX: Final = struct.Struct("@4x4x8x8xq8xi")
_TIMEX_BYTES: Final = 512
#: Linux, timex.h: the clock is not kept in step with any other.
_STA_UNSYNC: Final = 0x40


def machine_findings(*, runs_containers: bool, gpu_image: str = "") -> Iterator[Finding]:
    """All of it; Docker's engine only where containers run. Blocks for seconds."""
    yield _python()
    yield from disk_findings(
        [_IMAGES if _IMAGES.exists() else Path("/"), *_ROOM] if runs_containers else list(_ROOM)
    )
    if runs_containers:
        yield docker_finding()
    yield clock_finding(kernel_clock())
    yield from local_findings()
    yield from gpu_findings(gpu_image)
    yield from unit_findings()
    yield from machine_certificate_findings(datetime.now(UTC))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        return wrong("Python", f"{version}; install 3.11 or newer")
    return fine("Python", version)


def disk_findings(folders: Sequence[Path]) -> Iterator[Finding]:
    """One finding a file system that has some of the folders; the one that needs most speaks for it."""
    needs: dict[int, tuple[int, Path]] = {}
    for folder in folders:
        if folder.exists():
            device = folder.stat().st_dev
            needs[device] = max(needs.get(device, (0, folder)), (_ROOM.get(folder, 10), folder))
    for least, folder in sorted(needs.values(), key=lambda each: str(each[1])):
        yield _disk(folder, least)


def _disk(folder: Path, least_gib: int) -> Finding:
    free = shutil.disk_usage(folder).free
    files = os.statvfs(folder)
    text = f"{free / _GIB:.0f} GiB free at {folder}"
    if free < least_gib * _GIB:
        return wrong("disk", f"{text}; free up to {least_gib} GiB")
    if files.f_files and files.f_favail / files.f_files < _LEAST_FILES:
        left = f"{files.f_favail} of {files.f_files} inodes"
        return wrong("disk", f"{text}, and {left} for new files; remove some, or make a larger file system")
    return fine("disk", text)


class _Unix(http.client.HTTPConnection):
    """HTTP over a socket of this machine."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(self._path)


def docker_finding() -> Finding:
    """Whether Docker's daemon answers, at DOCKER_HOST where that is set."""
    where = os.environ.get("DOCKER_HOST") or _DOCKER_SOCKET
    scheme, _, rest = where.partition("://")
    link = _Unix(rest) if scheme == "unix" else http.client.HTTPConnection(rest, timeout=_ANSWER_S)
    try:
        link.request("GET", "/_ping")
        status = link.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return wrong("Docker", f"no daemon answers at {where} ({error}). Start it: systemctl start docker")
    finally:
        link.close()
    if status != 200:
        return wrong("Docker", f"the daemon at {where} answers {status}. See: journalctl -u docker")
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
        remedy = "see: chronyc tracking; without chrony: run site.yml, or apt-get install chrony"
        return wrong("clock", f"nothing keeps it in step with the world's; {remedy}")
    return fine("clock", f"in step to {error_us / 1_000_000:.3f} s")
