"""The job image of the demo and the tests, built from Debian's busybox and pushed to the local registry."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.setup.places import CACHE, JOB_IMAGE, ROOT
from tools.setup.progress import run, step

_BUSYBOX = Path("/bin/busybox")
_STAMP = CACHE / "job-image"


def ensure_job_image() -> None:
    """Build and push the image unless daemon and registry have the one of these sources."""
    sources = hashlib.sha256(
        (ROOT / "images/job/Dockerfile").read_bytes() + _BUSYBOX.read_bytes()
    ).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == sources and _present():
        return
    with step("job image"), tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "images/job/Dockerfile", folder)
        shutil.copy(_BUSYBOX, Path(folder) / "busybox")
        run(["docker", "build", "-q", "-t", JOB_IMAGE, folder], log="images")
        run(["docker", "push", "-q", JOB_IMAGE], log="images")
    _STAMP.write_text(sources)


def _present() -> bool:
    pulled = subprocess.run(["docker", "pull", "-q", JOB_IMAGE], capture_output=True, check=False)
    return pulled.returncode == 0
