"""A job's directories on the host: made for one job, measured while it runs, removed after it.

What is inside was arranged by a stranger: no walk here recurses without a bound or follows a link.
"""

import hashlib
import os
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Everybody may write inside, because jobs run as any user without capabilities; the parent is 0700.
_OPEN: Final = 0o777
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Folders nested deeper than this hide what they hold from anybody who measures by path.
MAX_DEPTH: Final = 100
#: What a job's container is called; it finds itself by this name as by localhost.
HOSTNAME: Final = "job"
_HOSTS: Final = f"""\
127.0.0.1 localhost {HOSTNAME}
::1 localhost ip6-localhost ip6-loopback
"""
#: What an entry counts at least, so that a million empty files are not free.
_ENTRY_BYTES: Final = 4096


class TooDeep(Exception):
    """A job nested its folders deeper than ``MAX_DEPTH``."""


def slot_folder(work_dir: Path, slot_id: str) -> Path:
    """The folder of a slot; its name is safe whatever the slot is called."""
    return work_dir / hashlib.sha256(slot_id.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directories of one job below its slot's folder; a slot has one job at a time."""

    root: Path

    @classmethod
    def make(cls, work_dir: Path, slot_id: str) -> "Workspace":
        """Create the directories; whatever the slot's folder held before is gone."""
        slot = slot_folder(work_dir, slot_id)
        clear(slot)
        slot.mkdir(mode=0o700, parents=True)
        workspace = cls(slot / "job")
        for folder in (workspace.volume, workspace.output, workspace.artifacts):
            folder.mkdir(parents=True)
            folder.chmod(_OPEN)
        workspace.hosts.write_text(_HOSTS)
        workspace.hostname.write_text(f"{HOSTNAME}\n")
        return workspace

    @property
    def volume(self) -> Path:
        """Bound to /volume."""
        return self.root / "volume"

    @property
    def output(self) -> Path:
        """Bound to /output."""
        return self.root / "output"

    @property
    def artifacts(self) -> Path:
        """Bound to the job's artifacts directory."""
        return self.root / "artifacts"

    @property
    def hosts(self) -> Path:
        """Bound to /etc/hosts, read-only."""
        return self.root / "hosts"

    @property
    def hostname(self) -> Path:
        """Bound to /etc/hostname, read-only."""
        return self.root / "hostname"

    def written_bytes(self) -> int:
        """Disk space of what the job wrote; links are counted, never followed.

        Raises:
            TooDeep: folders are nested too deeply to be measured.
        """
        folders = (self.volume, self.output, self.artifacts)
        return sum(_disk_bytes(os.open(folder, _FOLDER), 0) for folder in folders)


def clear(folder: Path) -> None:
    """Remove a folder and all in it; one that is not there is fine.

    Folders inside folders are moved up before they are removed, so no depth is too deep.
    """
    if not folder.exists():
        return
    while inner := _without_files(folder):
        for child in inner:
            child.chmod(0o700)
            for grandchild in _without_files(child):
                grandchild.rename(folder / uuid.uuid4().hex)
            child.rmdir()
    folder.rmdir()


def _without_files(folder: Path) -> list[Path]:
    """Unlink everything that is no folder; returns the folders."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            else:
                os.unlink(entry.path)  # noqa: PTH108  (hot path)
    return folders


def _disk_bytes(here: int, depth: int) -> int:
    """Measure and close the folder open as ``here``."""
    total = 0
    try:
        if depth > MAX_DEPTH:
            raise TooDeep(f"folders are nested deeper than {MAX_DEPTH}")
        with os.scandir(here) as entries:
            for entry in entries:
                total += _entry_bytes(here, entry, depth)
    finally:
        os.close(here)
    return total


def _entry_bytes(here: int, entry: "os.DirEntry[str]", depth: int) -> int:
    try:
        facts = entry.stat(follow_symlinks=False)
        own = max(facts.st_blocks * 512, _ENTRY_BYTES)
        if not stat.S_ISDIR(facts.st_mode):
            return own
        inner = os.open(entry.name, _FOLDER, dir_fd=here)
    except OSError:
        return 0  # the job removed or replaced it meanwhile; the next look sees what is there then
    return own + _disk_bytes(inner, depth + 1)
