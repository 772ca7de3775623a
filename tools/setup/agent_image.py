"""The agents' image: Debian's Python, the locked requirements, the project. No registry is asked for it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.setup.debian_base import make_base
from tools.setup.installer import install_into
from tools.setup.local_image import LocalImage, daemon_has, digest_of_files
from tools.setup.places import REGISTRY, REQUIREMENTS, ROOT
from tools.setup.progress import step

AGENT_IMAGE: Final = LocalImage(f"{REGISTRY}/horde/agent:1")
_BASE: Final = "horde/python-base:12"
_BASE_PACKAGES: Final = ("python3", "ca-certificates")
_SOURCES: Final = ROOT / "images" / "agent"
_NOMAD_JOBS: Final = ROOT / "nomad_jobs"


def ensure_agent_image() -> None:
    """Build and push the image unless daemon and registry have the one of these sources.

    Raises:
        SetupFailed: mmdebstrap, the installer, Docker or the registry failed.
    """
    sources = digest_of_files(_files())
    if AGENT_IMAGE.is_current(sources):
        return
    if not daemon_has(_BASE):
        with step("base of the agents' image (about a minute)"):
            make_base(_BASE, _BASE_PACKAGES)
    with step("agents' image"), tempfile.TemporaryDirectory(prefix="horde-agent-") as place:
        folder = Path(place)
        for file in _SOURCES.iterdir():
            shutil.copy(file, folder)
        shutil.copytree(_NOMAD_JOBS, folder / "nomad_jobs")
        install_into(folder / "site", "runtime", log="images")
        shutil.copytree(ROOT / "horde_agents", folder / "horde_agents", ignore=_compiled)
        AGENT_IMAGE.build(folder, sources)


def _files() -> Iterator[Path]:
    yield from _SOURCES.iterdir()
    yield REQUIREMENTS / "runtime.txt"
    for tree in (_NOMAD_JOBS, ROOT / "horde_agents"):
        yield from (file for file in tree.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _compiled(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]
