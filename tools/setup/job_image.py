"""The job image of demo and tests, built from Debian's static busybox."""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from tools.setup.local_image import LocalImage, digest_of_files
from tools.setup.places import REGISTRY, ROOT
from tools.setup.progress import step

#: the second is the same image under a name that examples like to use
JOB_IMAGE: Final = LocalImage(f"{REGISTRY}/horde/job:1", aliases=(f"{REGISTRY}/alpine:3",))
_DOCKERFILE: Final = ROOT / "images" / "job" / "Dockerfile"
_BUSYBOX: Final = Path("/bin/busybox")


def ensure_job_image() -> None:
    """Build and push the image unless daemon and registry have the one of these sources.

    Raises:
        SetupFailed: Docker or the registry failed.
    """
    sources = digest_of_files((_DOCKERFILE, _BUSYBOX))
    if JOB_IMAGE.is_current(sources):
        return
    with step("job image"), tempfile.TemporaryDirectory() as folder:
        shutil.copy(_DOCKERFILE, folder)
        shutil.copy(_BUSYBOX, Path(folder) / "busybox")
        JOB_IMAGE.build(Path(folder), sources)
