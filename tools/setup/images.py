"""The job image of demo and tests, built from Debian's static busybox and pushed to the local registry.

``job-image.json`` in the cache says under which digest it can be pulled.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.setup.places import ALIAS_IMAGE, CACHE, JOB_IMAGE, REGISTRY, ROOT
from tools.setup.progress import SetupFailed, run, step
from tools.setup.registry import digest_in_registry

_DOCKERFILE = ROOT / "images" / "job" / "Dockerfile"
_BUSYBOX = Path("/bin/busybox")
_RECORD = CACHE / "job-image.json"
_NAMES = (JOB_IMAGE, ALIAS_IMAGE)


def ensure_images() -> None:
    """Build and push the image unless daemon and registry have the one of these sources."""
    sources = hashlib.sha256(_DOCKERFILE.read_bytes() + _BUSYBOX.read_bytes()).hexdigest()
    if _is_current(sources):
        return
    with step("job image"), tempfile.TemporaryDirectory() as folder:
        shutil.copy(_DOCKERFILE, folder)
        shutil.copy(_BUSYBOX, Path(folder) / "busybox")
        run(["docker", "build", "-q", "-t", JOB_IMAGE, folder], log="images")
        run(["docker", "tag", JOB_IMAGE, ALIAS_IMAGE], log="images")
        for name in _NAMES:
            run(["docker", "push", "-q", name], log="images")
    digest = _pushed(JOB_IMAGE)
    if digest is None:
        raise SetupFailed(
            f"The registry at {REGISTRY} took {JOB_IMAGE} and does not have it now; run this again."
        )
    _RECORD.write_text(json.dumps({"sources": sources, "digest": digest}))


def job_image() -> str:
    """The job image by digest, such as ``127.0.0.1:5001/horde/job@sha256:…``.

    Raises:
        SetupFailed: it was never built here.
    """
    if not _RECORD.exists():
        raise SetupFailed("The job image was not built yet. Run: make setup")
    repository = JOB_IMAGE.rpartition(":")[0]
    return f"{repository}@{json.loads(_RECORD.read_text())['digest']}"


def _is_current(sources: str) -> bool:
    if not _RECORD.exists():
        return False
    record = json.loads(_RECORD.read_text())
    in_registry = all(_pushed(name) == record["digest"] for name in _NAMES)
    return record["sources"] == sources and in_registry and _daemon_has(*_NAMES)


def _pushed(image: str) -> str | None:
    repository, _, tag = image.removeprefix(f"{REGISTRY}/").rpartition(":")
    return digest_in_registry(repository, tag)


def _daemon_has(*images: str) -> bool:
    asked = subprocess.run(["docker", "image", "inspect", *images], capture_output=True, check=False)
    return asked.returncode == 0
