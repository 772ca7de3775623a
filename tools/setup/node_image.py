"""The machine on which the roles are tested: Debian 12 with systemd as an image, made once."""

import hashlib
import subprocess
from typing import Final

from tools.setup.debian_base import make_base
from tools.setup.places import ROOT
from tools.setup.progress import run, step

NODE_IMAGE: Final = "horde/node:12"
_BASE_IMAGE: Final = "horde/node-base:12"
_SOURCES: Final = ROOT / "images" / "node"
#: what Ansible and systemd need of a machine; all else is for the roles to install
_BASE_PACKAGES: Final = (
    *("python3", "python3-apt", "sudo"),
    *("systemd", "systemd-sysv", "dbus", "procps", "iproute2", "ca-certificates"),
)
#: what the roles install, and how an operator gets in, in the image as files
_ROLE_PACKAGES: Final = (
    *("openssh-server",),
    *("docker.io", "iptables", "docker-registry"),
    *("postgresql-15", "python3-psycopg2"),
    *("nftables",),
    *("restic",),
    *("haproxy", "socat", "keepalived", "certbot"),
    # the authority that certbot asks there
    *("pebble",),
    *("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"),
)
_LABEL: Final = "horde.sources"


def ensure_node_image() -> None:
    """Make the image unless Docker has the one of these sources.

    Raises:
        SetupFailed: mmdebstrap or Docker failed.
    """
    base = _digest(" ".join(_BASE_PACKAGES).encode())
    packages = " ".join(_ROLE_PACKAGES)
    files = [file.read_bytes() for file in sorted(_SOURCES.iterdir())]
    whole = _digest(base.encode(), packages.encode(), *files)
    if _label_of(NODE_IMAGE) == whole:
        return
    if _label_of(_BASE_IMAGE) != base:
        with step("test machine's base (about 2 minutes)"):
            make_base(_BASE_IMAGE, _BASE_PACKAGES, f"LABEL {_LABEL}={base}")
    with step("test machine"):
        options = ["--build-arg", f"PACKAGES={packages}", "--label", f"{_LABEL}={whole}"]
        run(["docker", "build", "-q", *options, "-t", NODE_IMAGE, _SOURCES], log="images")


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def _label_of(image: str) -> str | None:
    """Of which sources ``image`` was made; ``None`` when Docker has no such image."""
    wanted = f'{{{{index .Config.Labels "{_LABEL}"}}}}'
    asked = subprocess.run(
        ["docker", "image", "inspect", "--format", wanted, image], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else None
