"""Builds a repository of packages that behave like NVIDIA's but drive nothing, for molecule's `nvidia`.

    python -m tools.nvidia_stubs FOLDER KERNEL    FOLDER gets packages/, a signed index, and keyring.gpg

Owns which packages there are, with the names, conflicts and dependencies of the real ones for Debian 12.
What they do is in molecule/nvidia/stubs: they see the machine below /srv/sys and fail as /srv/fail says.
"""

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.setup.places import ROOT

DRIVERS: Final = ("535.261.03-1", "580.82.07-1", "580.95.05-1")
TOOLKITS: Final = ("1.17.8-1", "1.20.0-1")
_KEY_OWNER: Final = "Stub <stub@example.net>"

_SCRIPTS: Final = ROOT / "molecule" / "nvidia" / "stubs"


@dataclass(frozen=True)
class Stub:
    """One package; ``files`` and ``scripts`` are path or name → content."""

    name: str
    version: str
    relations: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)


def stubs(kernel: str) -> list[Stub]:
    """All packages of the repository."""
    found = [Stub(f"linux-headers-{kernel}", "1-1", files={f"lib/modules/{kernel}/build/Makefile": ""})]
    found.append(Stub("cuda-program", "1-1", {"Depends": "libcuda1 (<< 580)"}))
    found += [pinning(branch) for branch in sorted({version.split(".")[0] for version in DRIVERS})]
    for version in DRIVERS:
        found += driver(version)
    for version in TOOLKITS:
        found += toolkit(version)
    return found


def pinning(branch: str) -> Stub:
    """The package that keeps apt in a branch."""
    pin = f"Package: *nvidia* cuda-drivers libcuda1\nPin: version {branch}.*\nPin-Priority: 1001\n"
    return Stub(
        f"nvidia-driver-pinning-{branch}",
        "1-1",
        {"Provides": "nvidia-driver-pinning", "Conflicts": "nvidia-driver-pinning"},
        {f"etc/apt/preferences.d/nvidia-driver-pinning-{branch}": pin},
    )


def driver(version: str) -> list[Stub]:
    """NVIDIA's packages of one version, with both flavours of the module."""
    upstream = version.split("-")[0]
    build = {name: _script(name, upstream) for name in ("postinst", "prerm")}
    same = f"(= {version})"
    return [
        Stub("libcuda1", version),
        Stub("libnvidia-ml1", version),
        Stub(
            "nvidia-driver-cuda",
            version,
            {"Depends": f"libcuda1 {same}, libnvidia-ml1 {same}, nvidia-kernel-{upstream}"},
            {"usr/bin/nvidia-smi": _script("nvidia-smi", upstream)},
        ),
        Stub(
            "nvidia-kernel-open-dkms",
            version,
            {"Provides": f"nvidia-kernel-{upstream}", "Conflicts": "nvidia-kernel-dkms"},
            scripts=build,
        ),
        Stub(
            "nvidia-kernel-dkms",
            version,
            {"Provides": f"nvidia-kernel-{upstream}", "Conflicts": "nvidia-kernel-open-dkms"},
            scripts=build,
        ),
        Stub("cuda-drivers", version, {"Depends": f"nvidia-driver-cuda {same}, nvidia-kernel-dkms {same}"}),
    ]


def toolkit(version: str) -> list[Stub]:
    """NVIDIA's container toolkit."""
    same = f"(= {version})"
    return [
        Stub("libnvidia-container1", version),
        Stub("libnvidia-container-tools", version, {"Depends": f"libnvidia-container1 {same}"}),
        Stub(
            "nvidia-container-toolkit-base",
            version,
            files={
                "usr/bin/nvidia-ctk": _script("nvidia-ctk", version.split("-")[0]),
                "usr/bin/nvidia-container-runtime": '#!/bin/sh\nexec runc "$@"\n',
            },
        ),
        Stub(
            "nvidia-container-toolkit",
            version,
            {"Depends": f"libnvidia-container-tools {same}, nvidia-container-toolkit-base {same}"},
        ),
    ]


def build(stub: Stub, packages: Path) -> str:
    """Make the package; return its paragraph of the index."""
    control = {"Package": stub.name, "Version": stub.version, "Architecture": "amd64"}
    control |= {"Maintainer": _KEY_OWNER, "Description": f"stub of {stub.name}", **stub.relations}
    paragraph = "".join(f"{name}: {value}\n" for name, value in control.items())
    made = packages / f"{stub.name}_{stub.version}_amd64.deb"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        for path, content in {**stub.files, "DEBIAN/control": paragraph}.items():
            _write(root / path, content)
        for name, content in stub.scripts.items():
            _write(root / "DEBIAN" / name, content)
        _run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(made))
    whole = made.read_bytes()
    return (
        f"{paragraph}Filename: packages/{made.name}\nSize: {len(whole)}\n"
        f"SHA256: {hashlib.sha256(whole).hexdigest()}\n"
    )


def publish(folder: Path, kernel: str) -> None:
    """Fill ``folder``."""
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    index = "\n".join(build(stub, packages) for stub in stubs(kernel)).encode()
    (folder / "Packages").write_bytes(index)
    (folder / "Packages.gz").write_bytes(gzip.compress(index, mtime=0))
    listed = [
        f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}"
        for name in ("Packages", "Packages.gz")
        for content in [(folder / name).read_bytes()]
    ]
    release = "Origin: stub\nDate: Fri, 01 Jan 2021 00:00:00 UTC\nSHA256:\n" + "\n".join(listed) + "\n"
    (folder / "Release").write_text(release)
    sign(folder)


def sign(folder: Path) -> None:
    """Sign the index with a key that is made for it and thrown away."""
    with tempfile.TemporaryDirectory() as home:
        gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--yes")
        _run(*gpg, "--passphrase", "", "--quick-generate-key", _KEY_OWNER, "ed25519", "sign", "never")
        _run(*gpg, "--output", str(folder / "keyring.gpg"), "--export")
        _run(*gpg, "--output", str(folder / "InRelease"), "--clearsign", str(folder / "Release"))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def _script(name: str, upstream: str) -> str:
    return (_SCRIPTS / name).read_text().replace("@VERSION@", upstream)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755 if content.startswith("#!") else 0o644)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})


def main(words: list[str]) -> int:
    """0 when the repository is there; 2 when the words are wrong."""
    match words:
        case [folder, kernel]:
            publish(Path(folder), kernel)
            return 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
