"""Nomad, Consul and versitygw: those on the PATH when their version is supported, else built from source.

Each is built once per version, into the cache, from the module in ``tools/servers/<name>`` that pins it.
"""

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.setup.places import CACHE, ROOT
from tools.setup.progress import SetupFailed, run, step

#: Where each program is, for `horde demo --cluster`.
RECORD: Final = CACHE / "servers.json"
_SOURCES: Final = ROOT / "tools" / "servers"
_OLDEST_GO: Final = (1, 26)
_ENDS_WITH_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Server:
    """One program: what is built where none is found, and the oldest version that is good enough."""

    name: str
    version: str
    oldest: tuple[int, int, int]
    package: str
    expected: str
    """how long the build takes on two cores"""
    module: str = ""
    options: tuple[str, ...] = ()
    cgo: bool = True

    @property
    def source(self) -> Path:
        """The folder of the Go module that pins it."""
        return _SOURCES / (self.module or self.name)

    def own_files(self) -> list[Path]:
        """Sources of this project that go into it."""
        return sorted((self.source / self.package).glob("*.go")) if self.package.startswith(".") else []


NOMAD: Final = Server(
    "nomad",
    "1.11.3",
    (1, 11, 3),
    "github.com/hashicorp/nomad",
    "4 to 5 minutes",
    options=("-tags", "ui codegen_generated release"),
)
CONSUL: Final = Server(
    "consul", "1.22.7", (1, 22, 7), "github.com/hashicorp/consul", "3 to 7 minutes", cgo=False
)
VERSITYGW: Final = Server(
    "versitygw",
    "1.8.0",
    (1, 7, 0),
    "github.com/versity/versitygw/cmd/versitygw",
    "1 minute",
    options=("-ldflags", "-X main.Version=v1.8.0"),
    cgo=False,
)
#: built against Nomad's own sources, so it lives in that module; never looked for on the PATH
FAKE_GPUS: Final = Server(
    "horde-fake-gpus", "1.0.0", (1, 0, 0), "./fake-gpus", "10 seconds after Nomad", module="nomad"
)
SERVERS: Final = (NOMAD, FAKE_GPUS, CONSUL, VERSITYGW)


def ensure_servers() -> None:
    """Build what is neither on the PATH nor in the cache.

    Raises:
        SetupFailed: there is no Go, or a build failed.
    """
    for server in SERVERS:
        if _found(server) is None:
            _build(server)
    programs = {server.name: str(program(server)) for server in SERVERS}
    RECORD.write_text(json.dumps(programs, indent=1))


def program(server: Server) -> Path:
    """The program of ``server``.

    Raises:
        SetupFailed: it was never set up here.
    """
    found = _found(server)
    if found is None:
        raise SetupFailed(f"{server.name} {server.version} is not here. Run: make tools")
    return found


def built(server: Server, cache: Path = CACHE) -> Path:
    """Where the build of ``server`` lies or will lie; a changed pin is another place."""
    pins = hashlib.sha256()
    for file in [server.source / "go.mod", server.source / "go.sum", *server.own_files()]:
        pins.update(file.read_bytes())
    return cache / "servers" / f"{server.name}-{server.version}-{pins.hexdigest()[:12]}" / server.name


def version_in(text: str) -> tuple[int, int, int] | None:
    """The first version that ``text`` names."""
    match = _ENDS_WITH_VERSION.search(text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def why_no_go(said: str | None) -> str | None:
    """Why ``go version``'s answer (none: no such program) will not do; ``None`` when it will."""
    wanted = ".".join(map(str, _OLDEST_GO))
    remedy = f"Install Go {wanted} or newer, or put supported nomad and consul programs on the PATH."
    if said is None:
        return f"Nomad and Consul are built from source here, and there is no Go. {remedy}"
    numbers = re.search(r"go(\d+)\.(\d+)", said)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST_GO:
        return f"Nomad and Consul are built from source here; this Go is too old ({said.strip()}). {remedy}"
    return None


def _found(server: Server) -> Path | None:
    if built(server).exists():
        return built(server)
    on_path = shutil.which(server.name) if server is not FAKE_GPUS else None
    if on_path is None:
        return None
    asked = subprocess.run([on_path, "--version"], capture_output=True, text=True, check=False)
    version = version_in(asked.stdout + asked.stderr)
    return Path(on_path) if version is not None and version >= server.oldest else None


def _build(server: Server) -> None:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout if go else None
    if why := why_no_go(said):
        raise SetupFailed(why)
    target = built(server)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".half")
    # -mod=readonly: what is not in the module's go.sum is refused
    options = ["-mod=readonly", "-trimpath", "-buildvcs=false", *server.options]
    words: list[str | Path] = [
        "env",
        f"CGO_ENABLED={int(server.cgo)}",
        go or "go",
        "-C",
        server.source,
        "build",
    ]
    words += [*options, "-o", half, server.package]
    with step(f"{server.name} {server.version} from source (about {server.expected})"):
        run(words, log=f"build-{server.name}")
    half.rename(target)
