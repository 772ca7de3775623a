"""Images that are built here and pushed to the local registry, each once for its sources.

A record in the cache says of which sources an image was made, and under which digest it can be pulled.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.setup.places import CACHE, REGISTRY
from tools.setup.progress import SetupFailed, run
from tools.setup.registry import digest_in_registry


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image by its tag, such as ``127.0.0.1:5001/horde/job:1``; ``aliases`` are further tags of it."""

    tag: str
    aliases: tuple[str, ...] = ()

    def is_current(self, sources: str) -> bool:
        """Whether daemon and registry have the image of these sources."""
        if not self._record.exists():
            return False
        record = json.loads(self._record.read_text())
        in_registry = all(_pushed(name) == record["digest"] for name in self._names)
        return record["sources"] == sources and in_registry and daemon_has(*self._names)

    def build(self, folder: Path, sources: str, words: Sequence[str] = (), *, log: str = "images") -> None:
        """Build the image from the Dockerfile in ``folder``, with more ``words`` for Docker, and push it.

        Raises:
            SetupFailed: Docker or the registry failed.
        """
        run(["docker", "build", "-q", *words, "-t", self.tag, folder], log=log)
        for alias in self.aliases:
            run(["docker", "tag", self.tag, alias], log=log)
        for name in self._names:
            run(["docker", "push", "-q", name], log=log)
        digest = _pushed(self.tag)
        if digest is None:
            raise SetupFailed(
                f"The registry at {REGISTRY} took {self.tag} and does not have it now; run this again."
            )
        self._record.write_text(json.dumps({"sources": sources, "digest": digest}))

    def by_digest(self) -> str:
        """The image by digest, such as ``127.0.0.1:5001/horde/job@sha256:…``.

        Raises:
            SetupFailed: it was never built here.
        """
        if not self._record.exists():
            raise SetupFailed(f"The image {self.tag} was not built yet. Run: make setup")
        repository = self.tag.rpartition(":")[0]
        return f"{repository}@{json.loads(self._record.read_text())['digest']}"

    @property
    def _names(self) -> tuple[str, ...]:
        return self.tag, *self.aliases

    @property
    def _record(self) -> Path:
        name = self.tag.rpartition("/")[2].replace(":", "-")
        return CACHE / f"image-{name}.json"


def digest_of_files(files: Iterable[Path]) -> str:
    """One digest over names and contents of ``files``, in the order of their names."""
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _pushed(image: str) -> str | None:
    repository, _, tag = image.removeprefix(f"{REGISTRY}/").rpartition(":")
    return digest_in_registry(repository, tag)


def daemon_has(*images: str) -> bool:
    """Whether the Docker daemon has all of ``images``."""
    asked = subprocess.run(["docker", "image", "inspect", *images], capture_output=True, check=False)
    return asked.returncode == 0
