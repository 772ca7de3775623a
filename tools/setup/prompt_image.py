"""The tests' images of the prompt solver: Debian's CPU build of torch, transformers, and a tiny model each.

The first build takes minutes, so only the tests' goal and the goal ``solver`` reach it. The layer with the
libraries is kept in the Docker daemon under a tag made of its recipe.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tools.setup.installer import install_into
from tools.setup.local_image import LocalImage, daemon_has
from tools.setup.places import CACHE, REGISTRY, REQUIREMENTS, ROOT
from tools.setup.progress import SetupFailed, run, step

_SOURCES = ROOT / "images" / "prompt_solver"
_LOG = "prompt-image"
_LOCK = "prompt-solver"
_TORCH = "python3-torch=1.13.1+dfsg-4"
#: what transformers needs and Debian has, and a shell for images that are made from this one
_PACKAGES = (
    _TORCH,
    *("python3-filelock", "python3-fsspec", "python3-jinja2", "python3-packaging", "python3-regex"),
    *("python3-requests", "python3-tqdm", "python3-typing-extensions", "python3-yaml", "dash"),
)
#: 270 MB of what Debian's torch depends on, and no process that imports it ever opens
_UNUSED = ("iso-codes", "libgl1-mesa-dri", "libllvm15", "libtorch-test", "libz3-4", "proj-data", "xkb-data")
_UNREAD = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache")
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
#: Debian's maintainer scripts, which would link these two into the usual folder, do not run here
_ENV = f"LD_LIBRARY_PATH={_LIBRARIES}/blas:{_LIBRARIES}/lapack"
#: one with a model to trust, and another for a cheat to answer with
PROMPT_IMAGE: Final = LocalImage(f"{REGISTRY}/horde/prompt-solver:1")
OTHER_PROMPT_IMAGE: Final = LocalImage(f"{REGISTRY}/horde/prompt-solver:other")
_SEEDS = {PROMPT_IMAGE: 1, OTHER_PROMPT_IMAGE: 2}


def ensure_prompt_images() -> None:
    """Build and push the images unless daemon and registry have those of these sources.

    Raises:
        SetupFailed: no Debian 12, a package cannot be had, or Docker failed.
    """
    sources = _digest_of_sources()
    missing = {image: seed for image, seed in _SEEDS.items() if not image.is_current(sources)}
    if not missing:
        return
    base = f"horde/prompt-solver-base:{_digest_of_recipe()[:12]}"
    if not daemon_has(base):
        with step("torch for the prompt solver"), tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _make_base(Path(folder), base)
    with step("prompt solver images"):
        for image, seed in missing.items():
            arguments = (f"--build-arg=BASE={base}", f"--build-arg=SEED={seed}")
            image.build(_SOURCES, sources, ("--network=none", "--target=tiny", *arguments), log=_LOG)


def _digest_of_recipe() -> str:
    words = "\n".join((*_PACKAGES, *_UNUSED, *_UNREAD, _ENV))
    return hashlib.sha256(words.encode() + (REQUIREMENTS / f"{_LOCK}.txt").read_bytes()).hexdigest()


def _digest_of_sources() -> str:
    whole = hashlib.sha256(f"{_digest_of_recipe()} {list(_SEEDS.values())}".encode())
    for path in sorted(_SOURCES.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            whole.update(f"\n{path.relative_to(_SOURCES)} ".encode() + path.read_bytes())
    return whole.hexdigest()


def _make_base(folder: Path, name: str) -> None:
    root = folder / "root"
    root.mkdir()
    for package in _downloaded(folder):
        if package.name.partition("_")[0] not in _UNUSED:
            run(["dpkg-deb", "-x", package, root], log=_LOG)
    for unread in _UNREAD:
        shutil.rmtree(root / unread, ignore_errors=True)
    install_into(root / "usr" / "lib" / "python3" / "dist-packages", _LOCK, log=_LOG)
    (root / "tmp").mkdir(mode=0o1777, exist_ok=True)
    archive = folder / "root.tar"
    run(["tar", "-C", root, "--owner=0", "--group=0", "-cf", archive, "."], log=_LOG)
    run(["docker", "import", "-c", f"ENV {_ENV}", archive, name], log=_LOG)


def _downloaded(folder: Path) -> list[Path]:
    """Everything that the packages need down to the C library, by apt's own reckoning and signatures.

    apt is told of an empty system in ``folder``, so it changes nothing of this one and needs no root.
    """
    if shutil.which("apt-get") is None:
        raise SetupFailed(
            "This machine has no apt-get, and the tests' prompt solver is made of Debian 12's packages. "
            "Run the tests that need it on Debian 12."
        )
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    options = {
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
    }
    apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run([*apt, "update"], log=_LOG, env=env)
    run([*apt, "install", "-y", "--download-only", *_PACKAGES], log=_LOG, env=env)
    return sorted((folder / "archives").glob("*.deb"))
