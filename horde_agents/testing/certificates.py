"""Certificates for servers that a demo or a test starts, made by Consul's and Nomad's own commands."""

import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority, and what it signed for a server and for a client."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    def trust(self) -> ssl.SSLContext:
        """How a client of theirs speaks to the server."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.client, self.client_key)
        return context


def consul_certificates(program: Path, folder: Path) -> Certificates:
    """A new authority in ``folder``, and certificates of it for ``dc1``."""
    _make(program, folder, ["-dc=dc1"])
    return Certificates(
        folder / "consul-agent-ca.pem",
        folder / "dc1-server-consul-0.pem",
        folder / "dc1-server-consul-0-key.pem",
        folder / "dc1-client-consul-0.pem",
        folder / "dc1-client-consul-0-key.pem",
    )


def nomad_certificates(program: Path, folder: Path) -> Certificates:
    """A new authority in ``folder``, and certificates of it for the region ``global``."""
    _make(program, folder, [])
    return Certificates(
        folder / "nomad-agent-ca.pem",
        folder / "global-server-nomad.pem",
        folder / "global-server-nomad-key.pem",
        folder / "global-client-nomad.pem",
        folder / "global-client-nomad-key.pem",
    )


def _make(program: Path, folder: Path, of_server: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for words in (["ca", "create"], ["cert", "create", "-server", *of_server], ["cert", "create", "-client"]):
        subprocess.run([program, "tls", *words], cwd=folder, check=True, capture_output=True)
