"""Root file systems of Debian 12 as Docker images, made by mmdebstrap; no registry of images is asked."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.setup.progress import run


def make_base(image: str, packages: Sequence[str], *changes: str) -> None:
    """Make ``image`` of Debian's least and ``packages``; ``changes`` are lines of a Dockerfile.

    Raises:
        SetupFailed: mmdebstrap or Docker failed.
    """
    with tempfile.TemporaryDirectory(prefix="horde-base-") as folder:
        archive = Path(folder) / "root.tar"
        include = f"--include={','.join(packages)}"
        run(["mmdebstrap", "--variant=minbase", include, "bookworm", archive], log="images")
        words = [word for change in changes for word in ("--change", change)]
        run(["docker", "import", *words, archive, image], log="images")
