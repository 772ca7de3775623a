"""A job's directories on the host: made for one job, measured while it runs, removed after it."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

#: Everybody may write inside, because jobs run as any user without capabilities; the parent is 0700.
_OPEN = 0o777


def slot_folder(work_dir: Path, slot_id: str) -> Path:
    """The folder of a slot; its name is safe whatever the slot is called."""
    return work_dir / hashlib.sha256(slot_id.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directories of one job below its slot's folder."""

    root: Path

    @classmethod
    def make(cls, work_dir: Path, slot_id: str, job_uuid: str) -> "Workspace":
        """Create the directories; whatever the slot's folder held before is gone."""
        slot = slot_folder(work_dir, slot_id)
        clear(slot)
        slot.mkdir(mode=0o700, parents=True)
        workspace = cls(slot / job_uuid)
        for folder in (workspace.volume, workspace.output, workspace.artifacts):
            folder.mkdir(parents=True)
            folder.chmod(_OPEN)
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

    def written_bytes(self) -> int:
        """Disk space of what the job wrote; links are counted, never followed."""
        return sum(_disk_bytes(folder) for folder in (self.volume, self.output, self.artifacts))


def clear(folder: Path) -> None:
    """Remove a folder and all in it; one that is not there is fine."""
    if folder.exists():
        shutil.rmtree(folder)


def _disk_bytes(folder: Path) -> int:
    total = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118  (hot path)
            except FileNotFoundError:
                continue  # the job removed it meanwhile
    return total
